//! The tutorial that this project automates, steps 1 to 11, as a person does it: an unmodified redis-cli 7.0.15 and the
//! tutorial's own redis.conf, with `node-server` under the name `redis-server`.
//!
//! The tutorial's 7001 … 7009 are nine ports that are free. `WALKTHROUGH_OF=redis` runs the same steps against
//! redis-server itself, which shows that the test asks nothing that Redis does not do.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod create;
mod failover;
mod grow;
mod keys;
mod refusal;
mod replicas;
mod settings;
mod shrink;

use e2e_compat::Installation;

/// One long test: every step begins where the one before it ended.
#[test]
fn steps_1_to_11() {
    let servers = Installation::prepare().unwrap();
    create::step_1_start(&servers);
    create::step_2_create(&servers);
    create::step_3_set_and_get(&servers);
    create::step_4_check(&servers);
    let heir = failover::step_5_kill_a_master(&servers);
    failover::step_6_start_it_again(&servers, heir);
    let mut keys = keys::Keys::write(&servers);
    refusal::step_7_refuse_what_is_not_empty(&servers);
    grow::step_7_add_a_node(&servers);
    grow::step_8_reshard(&servers, heir);
    keys.verify(&servers);
    grow::step_9_use_it(&servers);
    keys.expect("age", "30");
    replicas::step_10_add_replicas(&servers, heir);
    shrink::step_11_take_them_away(&servers, heir);
    keys.verify(&servers);
    settings::set_timeout(&servers);
}
