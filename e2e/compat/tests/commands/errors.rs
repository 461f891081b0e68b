//! What a wrong command is answered: redis-server and our node are in the same state and are asked the same.

use e2e::Binary;
use e2e_compat::twins::{Family, Member, differences};

/// Subcommands of Redis 7.0 with the number of arguments up to which each is tried. None of `x` is a valid argument,
/// so they change nothing, and those without arguments change both alike.
const SUBCOMMANDS: &[&str] = &[
    "addslots",
    "addslotsrange",
    "bumpepoch",
    "count-failure-reports",
    "countkeysinslot",
    "delslots",
    "delslotsrange",
    "failover",
    "flushslots",
    "forget",
    "getkeysinslot",
    "info",
    "keyslot",
    "links",
    "meet",
    "myid",
    "nodes",
    "replicas",
    "replicate",
    "reset",
    "saveconfig",
    "set-config-epoch",
    "setslot",
    "shards",
    "slaves",
    "slots",
    "nonsense",
    "HELP",
    "AddSlots",
    "Meet",
    "",
];
/// Arguments tried at most.
const ARGUMENTS_MAX: usize = 5;
/// Those whose answer without arguments is about the state of the whole cluster and not an error.
const TELLING: &[&str] = &["info", "links", "myid", "nodes", "shards", "slots", "HELP"];

const AS_MASTER: &[&str] = &[
    "CLUSTER",
    "CLUSTER MYID",
    "CLUSTER KEYSLOT name",
    "CLUSTER KEYSLOT {tag}.x",
    "CLUSTER ADDSLOTS 16384",
    "CLUSTER ADDSLOTS -1",
    "CLUSTER ADDSLOTS 1x",
    "CLUSTER ADDSLOTS 0",
    "CLUSTER ADDSLOTS 9000 9000",
    "CLUSTER ADDSLOTSRANGE 5 4",
    "CLUSTER ADDSLOTSRANGE 0 5 9",
    "CLUSTER ADDSLOTSRANGE 0 16384",
    "CLUSTER ADDSLOTSRANGE 100 200",
    "CLUSTER DELSLOTSRANGE 5 4",
    "CLUSTER DELSLOTSRANGE 5 99999",
    "CLUSTER DELSLOTS 7 7",
    "CLUSTER DELSLOTS 16384",
    "CLUSTER COUNTKEYSINSLOT 16384",
    "CLUSTER COUNTKEYSINSLOT -1",
    "CLUSTER COUNTKEYSINSLOT a",
    "CLUSTER COUNTKEYSINSLOT 0",
    "CLUSTER GETKEYSINSLOT 0 -1",
    "CLUSTER GETKEYSINSLOT 16384 1",
    "CLUSTER GETKEYSINSLOT 0 a",
    "CLUSTER GETKEYSINSLOT 0 10",
    "CLUSTER COUNT-FAILURE-REPORTS nobody",
    "CLUSTER COUNT-FAILURE-REPORTS {b}",
    "CLUSTER FAILOVER",
    "CLUSTER FAILOVER FORCE",
    "CLUSTER FAILOVER GENTLY",
    "CLUSTER FORGET nobody",
    "CLUSTER FORGET {a}",
    "CLUSTER MEET nowhere 1",
    "CLUSTER MEET 127.0.0.1 0",
    "CLUSTER MEET 127.0.0.1 70000",
    "CLUSTER MEET 127.0.0.1 60000",
    "CLUSTER MEET 127.0.0.1 x",
    "CLUSTER MEET 127.0.0.1 7000 x",
    "CLUSTER MEET 127.0.0.1 7000 70000",
    "CLUSTER MEET 127.0.0.1 7000 17000 x",
    "CLUSTER REPLICAS nobody",
    "CLUSTER REPLICAS {b}",
    "CLUSTER REPLICAS {r}",
    "CLUSTER SLAVES {r}",
    "CLUSTER SLAVES nobody",
    "CLUSTER REPLICATE nobody",
    "CLUSTER REPLICATE {a}",
    "CLUSTER REPLICATE {b}",
    "CLUSTER REPLICATE {r}",
    "CLUSTER RESET SOMEHOW",
    "CLUSTER SET-CONFIG-EPOCH 9",
    "CLUSTER SET-CONFIG-EPOCH -1",
    "CLUSTER SET-CONFIG-EPOCH x",
    "CLUSTER SETSLOT 16384 STABLE",
    "CLUSTER SETSLOT x STABLE",
    "CLUSTER SETSLOT 0 NONSENSE",
    "CLUSTER SETSLOT 0 STABLE {b}",
    "CLUSTER SETSLOT 0 MIGRATING",
    "CLUSTER SETSLOT 0 IMPORTING",
    "CLUSTER SETSLOT 0 NODE",
    "CLUSTER SETSLOT 0 MIGRATING nobody",
    "CLUSTER SETSLOT 0 MIGRATING {r}",
    "CLUSTER SETSLOT 0 IMPORTING {b}",
    "CLUSTER SETSLOT 9000 MIGRATING {b}",
    "CLUSTER SETSLOT 9000 IMPORTING nobody",
    "CLUSTER SETSLOT 9000 IMPORTING {r}",
    "CLUSTER SETSLOT 0 NODE nobody",
    "CLUSTER SETSLOT 0 NODE {r}",
    "CLUSTER BUMPEPOCH",
    "CLUSTER BUMPEPOCH",
    "CLUSTER SAVECONFIG",
    // Slot 741 is this one's, 5798 is not.
    "SET age 30",
    "SET name x",
    "GET name",
    "MGET age name",
    "MSET {age}1 a {age}2 b",
    "MGET {age}1 {age}2",
    "CLUSTER RESET",
    "CLUSTER FLUSHSLOTS",
    "CLUSTER COUNTKEYSINSLOT 741",
    "CLUSTER GETKEYSINSLOT 741 0",
    "CLUSTER SETSLOT 741 NODE {b}",
    "CLUSTER SETSLOT 741 MIGRATING {b}",
    "GET age",
    "GET {age}3",
    "SET {age}3 c",
    "MGET {age}1 {age}3",
    "MGET {age}3 {age}4",
    "CLUSTER SETSLOT 741 STABLE",
    "GET {age}3",
    "CLUSTER SETSLOT 5798 IMPORTING {b}",
    "GET name",
    "ASKING",
    "GET name",
    "GET name",
    "ASKING",
    "MGET name {name}2",
    "CLUSTER SETSLOT 5798 STABLE",
    "MULTI",
    "SET name x",
    "EXEC",
    "MULTI",
    "GET age",
    "CLUSTER NONSENSE",
    "EXEC",
    "MULTI",
    "CLUSTER DELSLOTS 741",
    "CLUSTER ADDSLOTS 741",
    "CLUSTER SETSLOT 741 STABLE",
    "CLUSTER SETSLOT 741 NONSENSE",
    "CLUSTER BUMPEPOCH",
    "EXEC",
    "GET age",
    "READONLY",
    "READWRITE",
    "ASKING x",
    "READONLY x",
    "SELECT 1",
    "SELECT 0",
    "MIGRATE 127.0.0.1 1 age 0 100",
    "MIGRATE 127.0.0.1 1 nothing 1 100",
];

const AS_REPLICA: &[&str] = &[
    "CLUSTER ADDSLOTS 0",
    "CLUSTER ADDSLOTSRANGE 0 1",
    "CLUSTER FAILOVER GENTLY",
    "CLUSTER FAILOVER FORCE FORCE",
    "CLUSTER FORGET {a}",
    "CLUSTER FORGET {r}",
    "CLUSTER REPLICATE {r}",
    "CLUSTER REPLICATE nobody",
    "CLUSTER REPLICATE {a}",
    "CLUSTER REPLICAS {r}",
    "CLUSTER SETSLOT 0 STABLE",
    "CLUSTER SETSLOT 0 NODE {b}",
    "CLUSTER SETSLOT 0",
    "CLUSTER SET-CONFIG-EPOCH 1",
    "CLUSTER BUMPEPOCH",
    "CLUSTER FLUSHSLOTS",
    "CLUSTER RESET SOMEHOW",
    "CLUSTER COUNTKEYSINSLOT 741",
    "GET age",
    "SET age 1",
    "READONLY",
    "GET age",
    "SET age 1",
    "MULTI",
    "GET age",
    "EXEC",
    "READWRITE",
    "GET age",
    "WAIT 0 0",
];

const OUTSIDE: &[&str] = &[
    "GET age",
    "SET age 1",
    "CLUSTER BUMPEPOCH",
    "CLUSTER SET-CONFIG-EPOCH 0",
    "CLUSTER SET-CONFIG-EPOCH 9223372036854775808",
    "CLUSTER DELSLOTS 0",
    "CLUSTER DELSLOTSRANGE 0 1",
    "CLUSTER ADDSLOTS 0 1 0",
    "CLUSTER ADDSLOTSRANGE 0 10 5 12",
    "CLUSTER ADDSLOTSRANGE 0 10 20 30",
    "CLUSTER ADDSLOTS 10",
    "CLUSTER DELSLOTS 10 11",
    "CLUSTER DELSLOTSRANGE 0 10 20 30",
    "CLUSTER FAILOVER TAKEOVER",
    "CLUSTER RESET HARD SOFT",
    "CLUSTER FLUSHSLOTS",
    "CLUSTER RESET SOFT",
    "CLUSTER SET-CONFIG-EPOCH 5",
    "CLUSTER BUMPEPOCH",
];

#[test]
fn errors_and_arities_are_those_of_redis() {
    let theirs = Family::start(Binary::Redis).unwrap();
    let ours = Family::start(Binary::NodeServer).unwrap();
    let mut all = String::new();
    for (member, commands) in
        [(Member::Outsider, OUTSIDE), (Member::Master, AS_MASTER), (Member::Replica, AS_REPLICA)]
    {
        all += &differences(&theirs, &ours, member, commands).unwrap();
        theirs.settle().unwrap();
        ours.settle().unwrap();
    }
    let arities = arities();
    let arities: Vec<&str> = arities.iter().map(String::as_str).collect();
    for member in [Member::Outsider, Member::OtherMaster] {
        all += &differences(&theirs, &ours, member, &arities).unwrap();
    }
    assert!(all.is_empty(), "\n{all}");
}

fn arities() -> Vec<String> {
    let tried = |name: &&'static str| {
        let least = usize::from(TELLING.contains(name));
        let name = *name;
        (least..=ARGUMENTS_MAX).map(move |count| format!("CLUSTER {name}{}", " x".repeat(count)))
    };
    SUBCOMMANDS.iter().flat_map(tried).collect()
}
