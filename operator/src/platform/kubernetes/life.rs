//! What a Pod and its machine say about the life of a node. Pure.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Node, Pod};
use k8s_openapi::jiff::Timestamp;
use operator_planner::{Life, Proof};

/// The taint that an administrator sets on a machine that is off for good.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// A pod that is younger, and of which nothing bad is said, is about to run, in seconds.
const STARTING_S: i64 = 30;
/// What the kubelet says of a container that it is about to start.
const CREATING: &str = "ContainerCreating";

/// What is known of the machine that a pod runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Its kubelet renews its Lease: what it says of containers is so.
    Heard,
    /// Its kubelet is silent, or nobody knows whether it is.
    Silent,
    /// Its Node object was deleted, or carries the out-of-service taint.
    GivenUp,
}

/// Whether an administrator has given the machine up.
#[must_use]
pub fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref());
    taints.into_iter().flatten().any(|t| t.key == OUT_OF_SERVICE)
}

/// Alive, dead with a proof, or what is missing.
#[must_use]
pub fn life(pod: &Pod, machine: Machine, now: Timestamp) -> Life {
    let created = pod.metadata.creation_timestamp.as_ref();
    let young = created.is_some_and(|at| now.duration_since(at.0).as_secs() < STARTING_S);
    let starting = |why: &str| if young { Life::Starting(why.into()) } else { Life::Pending(why.into()) };
    let Some(machine_name) = pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) else {
        return unscheduled(pod).map_or_else(|| starting("it waits for a machine"), Life::Pending);
    };
    if machine == Machine::GivenUp {
        return Life::Terminated(Proof::Administrator);
    }
    let silent = || Life::Unknown(format!("the kubelet of {machine_name} is silent"));
    let heard = |life| if machine == Machine::Heard { life } else { silent() };
    let Some(status) = container(pod) else {
        return heard(starting("its container is being created"));
    };
    match state(status) {
        State::Running => heard(Life::Running),
        State::Ended => heard(Life::Terminated(Proof::Terminated)),
        State::Waiting(why) if why == CREATING => heard(starting(&why)),
        State::Waiting(why) => heard(Life::Pending(why)),
    }
}

/// The same of a declared member with a volume. A node that was told to end and has ended in order has everything that it
/// acknowledged there, and its next pod brings it back: no reason to prefer a copy, which may have less.
#[must_use]
pub fn life_on_volume(pod: &Pod, machine: Machine, now: Timestamp) -> Life {
    match life(pod, machine, now) {
        Life::Terminated(Proof::Terminated) if ended_in_order(pod) => {
            Life::Pending("it has ended, and its data waits for its next pod".into())
        }
        other => other,
    }
}

/// It was told to end and says that nothing is missing on its disk.
fn ended_in_order(pod: &Pod) -> bool {
    let end = container(pod).and_then(|status| status.state.as_ref()?.terminated.as_ref());
    pod.metadata.deletion_timestamp.is_some() && end.is_some_and(|end| end.exit_code == 0)
}

/// Whether the container of a pod that is deleted is seen to have ended: a pod that was deleted by force is not.
#[must_use]
pub fn has_ended(pod: &Pod) -> bool {
    container(pod).is_some_and(|status| matches!(state(status), State::Ended))
}

enum State {
    Running,
    Ended,
    Waiting(String),
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn state(status: &ContainerStatus) -> State {
    let none = ContainerState::default();
    let now = status.state.as_ref().unwrap_or(&none);
    let before = status.last_state.as_ref().unwrap_or(&none);
    if now.running.is_some() {
        State::Running
    } else if now.terminated.is_some() || before.terminated.is_some() {
        State::Ended
    } else {
        let waiting = now.waiting.as_ref();
        let reason = waiting.and_then(|w| w.reason.as_deref()).unwrap_or(CREATING);
        let message = waiting.and_then(|w| w.message.as_deref()).unwrap_or_default();
        State::Waiting(if message.is_empty() { reason.into() } else { format!("{reason}: {message}") })
    }
}

/// What the scheduler has against every machine, if it has said so.
fn unscheduled(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    let scheduled =
        conditions.into_iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    let message = scheduled.map(|c| c.message.as_deref().unwrap_or_default());
    message.map(|m| format!("no machine takes it: {m}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(state: Value, last: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "demo-0-0", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "worker", "containers": []},
            "status": {"containerStatuses": [{
                "name": "node", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": state, "lastState": last
            }]}
        }))
        .unwrap()
    }

    /// So many seconds after the pods were created.
    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + seconds).unwrap()
    }

    fn running() -> Pod {
        pod(json!({"running": {}}), json!({}))
    }

    fn ended() -> Pod {
        pod(json!({"terminated": {"exitCode": 137}}), json!({}))
    }

    #[test]
    fn only_a_kubelet_that_is_heard_proves_a_death() {
        assert_eq!(life(&ended(), Machine::Heard, at(1)), Life::Terminated(Proof::Terminated));
        assert!(matches!(life(&ended(), Machine::Silent, at(1)), Life::Unknown(_)));
        assert_eq!(life(&running(), Machine::Heard, at(1)), Life::Running);
        assert!(matches!(life(&running(), Machine::Silent, at(1)), Life::Unknown(_)));
    }

    #[test]
    fn an_administrator_s_word_proves_it_whatever_the_pod_says() {
        assert_eq!(life(&running(), Machine::GivenUp, at(1)), Life::Terminated(Proof::Administrator));
    }

    #[test]
    fn a_container_that_waits_after_it_ended_is_dead_and_one_that_never_ran_is_pending() {
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let after = pod(waiting, json!({"terminated": {"exitCode": 1}}));
        assert_eq!(life(&after, Machine::Heard, at(1)), Life::Terminated(Proof::Terminated));
        let never = pod(json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}), json!({}));
        assert_eq!(life(&never, Machine::Heard, at(1)), Life::Pending("ErrImagePull: not found".into()));
    }

    #[test]
    fn a_young_pod_is_starting_unless_something_is_wrong_with_it() {
        let creating = pod(json!({"waiting": {"reason": CREATING}}), json!({}));
        assert_eq!(life(&creating, Machine::Heard, at(29)), Life::Starting(CREATING.into()));
        assert_eq!(life(&creating, Machine::Heard, at(30)), Life::Pending(CREATING.into()));
        assert!(matches!(life(&creating, Machine::Silent, at(1)), Life::Unknown(_)));
        let broken = pod(json!({"waiting": {"reason": "ErrImagePull"}}), json!({}));
        assert_eq!(life(&broken, Machine::Heard, at(1)), Life::Pending("ErrImagePull".into()));
        let mut new = creating;
        new.spec.as_mut().unwrap().node_name = None;
        assert_eq!(life(&new, Machine::Silent, at(1)), Life::Starting("it waits for a machine".into()));
    }

    /// All pods of a shard told to end at once: the replica's next pod was there before the master's, and took over without
    /// the master's last writes, which are on its volume.
    #[test]
    fn a_node_that_ended_in_order_comes_back_with_its_volume() {
        let deleted = |exit_code: i32| {
            let mut pod = pod(json!({"terminated": {"exitCode": exit_code}}), json!({}));
            pod.metadata.deletion_timestamp = pod.metadata.creation_timestamp.clone();
            pod
        };
        let dead = Life::Terminated(Proof::Terminated);
        assert!(matches!(life_on_volume(&deleted(0), Machine::Heard, at(1)), Life::Pending(_)));
        assert_eq!(life(&deleted(0), Machine::Heard, at(1)), dead, "in memory it has nothing any more");
        for exit_code in [1, 137] {
            assert_eq!(life_on_volume(&deleted(exit_code), Machine::Heard, at(1)), dead, "{exit_code}");
        }
        let by_itself = pod(json!({"terminated": {"exitCode": 0}}), json!({}));
        assert_eq!(life_on_volume(&by_itself, Machine::Heard, at(1)), dead);
        let given_up = life_on_volume(&deleted(0), Machine::GivenUp, at(1));
        assert_eq!(given_up, Life::Terminated(Proof::Administrator));
        assert_eq!(life_on_volume(&running(), Machine::Heard, at(1)), Life::Running);
    }

    #[test]
    fn a_restarted_container_runs() {
        let again = pod(json!({"running": {}}), json!({"terminated": {"exitCode": 137}}));
        assert_eq!(life(&again, Machine::Heard, at(1)), Life::Running);
        assert!(!has_ended(&again) && has_ended(&ended()));
    }

    #[test]
    fn the_scheduler_s_reason_is_passed_on() {
        let pod: Pod = serde_json::from_value(json!({
            "spec": {"containers": []},
            "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/4 nodes"}]}
        }))
        .unwrap();
        assert_eq!(
            life(&pod, Machine::Silent, at(1)),
            Life::Pending("no machine takes it: 0/4 nodes".into())
        );
    }

    #[test]
    fn the_out_of_service_taint() {
        let node = |key: &str| -> Node {
            serde_json::from_value(json!({"spec": {"taints": [{"key": key, "effect": "NoExecute"}]}}))
                .unwrap()
        };
        assert!(is_out_of_service(&node(OUT_OF_SERVICE)));
        assert!(!is_out_of_service(&node("node.kubernetes.io/unreachable")));
    }
}
