//! A master whose only replica has died gets one of another master.

use super::*;
use node_server_protocol::topology::NodeLine;

fn replicas(lines: &[NodeLine], of: NodeId) -> Vec<NodeId> {
    let works = |line: &&NodeLine| line.master == Some(of) && !line.to_string().contains("fail");
    lines.iter().filter(works).map(|line| line.id).collect()
}

#[test]
fn a_replica_goes_to_a_master_that_has_none_left() {
    let shape = Shape::new(3, 1).with_spares(1).with("cluster-allow-replica-migration", "yes");
    let mut cluster = LocalCluster::start(Binary::NodeServer, &shape).unwrap();
    let keys = keys_of(2, 3, "k", 500);
    set_all(&mut cluster.nodes[2].client().unwrap(), &keys);
    let (rich, poor) = (id(&cluster.nodes[0]), id(&cluster.nodes[2]));
    meet_and_follow(&mut cluster.nodes[0].client().unwrap(), &cluster.nodes[6]);
    cluster.wait_roles(4).unwrap();
    wait::until("the spare knows who is a replica", SOON, || {
        cluster.view(6).unwrap().iter().filter(|line| line.master.is_some()).count() == 4
    })
    .unwrap();
    let stays = |cluster: &LocalCluster| replicas(&cluster.view(2).unwrap(), rich).len();
    wait::until("the first master has two replicas that work", SOON, || stays(&cluster) == 2).unwrap();
    cluster.nodes[5].kill().unwrap();
    let mut came = None;
    wait::until("a replica has come", SOON + SOON, || {
        let view = cluster.view(2).unwrap();
        came = match replicas(&view, poor)[..] {
            [one] if replicas(&view, rich).len() == 1 => Some(one),
            _ => None,
        };
        came.is_some()
    })
    .unwrap();
    let came = came.unwrap();
    let came = [3, 6].map(|n| &cluster.nodes[n]).into_iter().find(|node| id(node) == came).unwrap();
    assert!(came.log().contains(&format!("Migrating to orphaned master {poor}")), "{}", came.log());
    wait_same_offset(&cluster.nodes[2], came);
    let mut reader = came.client().unwrap();
    reader.call(&["READONLY"]).unwrap();
    assert!(has_all(&mut reader, &keys));
}
