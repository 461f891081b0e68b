use super::*;
use http::{Request, Response, StatusCode};
use kube::client::Body;

fn lease(holder: &str, renewed_s: i64) -> Lease {
    let renewed = Timestamp::from_second(renewed_s).unwrap();
    Lease {
        metadata: ObjectMeta {
            name: Some("l".into()),
            resource_version: Some("7".into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.into()),
            renew_time: Some(MicroTime(renewed)),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }),
    }
}

/// Nobody answers it.
fn alone() -> Election {
    let (service, _handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    Election::new(Client::new(service, "ns"), "ns", "l", "me")
}

#[tokio::test]
async fn another_s_lease_is_taken_when_it_was_not_renewed_by_our_own_clock() {
    let (mut election, begin) = (alone(), Instant::now());
    // Its renewal lies far in the past by the wall clock, which may be wrong.
    election.notice(&lease("other", 1), begin);
    assert_eq!(election.verdict(&lease("other", 1), begin + HOLDS), Verdict::Wait);
    election.notice(&lease("other", 2), begin + HOLDS);
    assert_eq!(election.verdict(&lease("other", 2), begin + HOLDS * 2), Verdict::Wait, "it was renewed");
    election.notice(&lease("other", 2), begin + HOLDS * 3);
    assert_eq!(election.verdict(&lease("other", 2), begin + HOLDS * 3), Verdict::Take);
}

#[tokio::test]
async fn a_free_lease_and_our_own_are_taken_at_once() {
    let election = alone();
    for holder in ["", "me"] {
        assert_eq!(election.verdict(&lease(holder, 1), Instant::now()), Verdict::Take);
    }
    let transitions = |l: Lease| l.spec.unwrap().lease_transitions;
    assert_eq!(transitions(election.taken(lease("me", 1))), Some(3));
    assert_eq!(transitions(election.taken(lease("", 1))), Some(4));
}

/// What the API server answers, one after the other, and what it was asked.
async fn asked<T>(
    answers: Vec<(StatusCode, serde_json::Value)>,
    ask: impl AsyncFnOnce(&mut Election) -> T,
) -> (T, Vec<serde_json::Value>) {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let server = tokio::spawn(async move {
        let mut bodies = Vec::new();
        for (status, answer) in answers {
            let (request, send) = handle.next_request().await.unwrap();
            let bytes = request.into_body().collect_bytes().await.unwrap();
            bodies.push(serde_json::from_slice(&bytes).unwrap_or_default());
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            send.send_response(Response::builder().status(status).body(body).unwrap());
        }
        bodies
    });
    let mut election = Election::new(Client::new(service, "ns"), "ns", "l", "me");
    let result = ask(&mut election).await;
    // Else the server would wait for a request that does not come.
    drop(election);
    (result, server.await.unwrap())
}

fn found(holder: &str) -> (StatusCode, serde_json::Value) {
    (StatusCode::OK, serde_json::to_value(lease(holder, 1)).unwrap())
}

fn conflict() -> (StatusCode, serde_json::Value) {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409, "message": "", "metadata": {}
    });
    (StatusCode::CONFLICT, status)
}

#[tokio::test]
async fn the_lease_that_was_read_is_written_and_a_faster_one_wins() {
    let attempt = async |election: &mut Election| election.attempt().await;
    let (taken, bodies) = asked(vec![found(""), found("")], attempt).await;
    assert_eq!(taken.unwrap(), Attempt::Ours);
    assert_eq!(bodies[1]["metadata"]["resourceVersion"], "7");
    assert_eq!(bodies[1]["spec"]["holderIdentity"], "me");
    let (taken, _) = asked(vec![found(""), conflict()], attempt).await;
    assert_eq!(taken.unwrap(), Attempt::Changed);
}

/// A renewal that was given up after four seconds, and was written all the same.
#[tokio::test(start_paused = true)]
async fn a_holder_s_own_late_renewal_is_not_another_s() {
    let hold = async |election: &mut Election| election.hold().await;
    let answers = vec![found("me"), conflict(), found("me"), found("me"), found("other")];
    let (ended, _) = asked(answers, hold).await;
    assert_eq!(ended.to_string(), "another operator holds the Lease l");
}

/// The last renewal was written while the Lease was let go: others waited for 15 s.
#[tokio::test]
async fn a_lease_is_let_go_again_when_it_changed_meanwhile() {
    let release = async |election: &mut Election| election.release().await;
    let (done, bodies) = asked(vec![found("me"), conflict(), found("me"), found("")], release).await;
    done.unwrap();
    assert_eq!(bodies[3]["spec"]["holderIdentity"], "");
    asked(vec![found("me"), conflict(), found("other")], release).await.0.unwrap();
    let always = [found("me"), conflict()].into_iter().cycle().take(2 * RELEASES_MAX).collect();
    assert!(asked(always, release).await.0.is_err());
}

/// A slow API server: renewed behind the end of its time is not renewed.
#[tokio::test(start_paused = true)]
async fn a_holder_ends_before_another_may_begin() {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let slow = tokio::spawn(async move {
        loop {
            let Some((_, send)) = handle.next_request().await else { return };
            tokio::time::sleep(REQUEST - Duration::from_millis(1)).await;
            let body = Body::from(serde_json::to_vec(&lease("me", 1)).unwrap());
            send.send_response(
                Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).body(body).unwrap(),
            );
        }
    });
    let mut election = Election::new(Client::new(service, "ns"), "ns", "l", "me");
    let begun = tokio::time::Instant::now();
    election.hold().await;
    assert!(begun.elapsed() < RENEW_DEADLINE + Duration::from_secs(1), "{:?}", begun.elapsed());
    slow.abort();
}
