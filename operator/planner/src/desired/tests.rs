use super::*;
use node_server_protocol::SlotRange;

fn spec(masters: u16, distribution: Distribution) -> Spec {
    let (name, replicas_per_master) = ("demo".into(), 1);
    Spec { name, masters, replicas_per_master, distribution, allow_data_loss: false, paused: false }
}

fn refused(spec: Spec) -> String {
    Desired::parse(spec).unwrap_err().to_string()
}

fn ranges(texts: &[&str]) -> Distribution {
    Distribution::Declared(
        texts.iter().map(|t| [t.parse::<SlotRange>().unwrap()].into_iter().collect()).collect(),
    )
}

#[test]
fn members_in_order() {
    let desired = Desired::parse(spec(2, Distribution::Balanced)).unwrap();
    let names: Vec<String> = desired.members().map(|m| m.name(desired.name())).collect();
    assert_eq!(names, ["demo-0-0", "demo-0-1", "demo-1-0", "demo-1-1"]);
    assert!(desired.wants(MemberId::new(1, 1)) && !desired.wants(MemberId::new(2, 0)));
}

#[test]
fn missing_weights_are_one() {
    let desired = Desired::parse(spec(3, Distribution::Weighted(vec![2]))).unwrap();
    assert_eq!(desired.distribution(), &Distribution::Weighted(vec![2, 1, 1]));
}

#[test]
fn what_is_refused_and_how() {
    assert_eq!(refused(spec(0, Distribution::Balanced)), "spec.masters: 0: at least 1 master is needed");
    let name = Spec { name: "Demo".into(), ..spec(1, Distribution::Balanced) };
    assert!(refused(name).starts_with("metadata.name: \"Demo\""));
    assert!(refused(Spec { replicas_per_master: 6, ..spec(1, Distribution::Balanced) }).contains("0 to 5"));
    assert!(refused(spec(501, Distribution::Balanced)).contains("1002"));
    assert!(refused(spec(1, Distribution::Weighted(vec![0]))).contains("spec.slots[0].weight: 0"));
    assert!(refused(spec(1, Distribution::Weighted(vec![1, 1]))).contains("2 weights for 1 masters"));
    assert!(refused(spec(2, ranges(&["0-16383"]))).contains("1 entries with ranges for 2 masters"));
    assert!(refused(spec(2, ranges(&["0-9000", "9000-16383"]))).contains("slot 9000 is already"));
    assert!(refused(spec(2, ranges(&["0-8999", "9001-16383"]))).contains("slot 9000 is in no entry"));
}
