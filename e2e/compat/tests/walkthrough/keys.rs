//! Keys in every slot range, to see that none is lost.

use e2e::Client;
use e2e_compat::{Installation, views};
use node_server_protocol::key_slot;
use std::collections::BTreeMap;

/// About one key in every eighth slot: enough for each range that moves, few enough for redis-cli's pace.
const COUNT: u32 = 2000;

/// What has to be there.
#[derive(Debug)]
pub(crate) struct Keys(BTreeMap<String, String>);

impl Keys {
    /// Writes them beside the one that the tutorial has written.
    pub(crate) fn write(servers: &Installation) -> Self {
        let mut keys = Self((0..COUNT).map(|i| (format!("key:{i}"), format!("value {i}"))).collect());
        for (port, names) in keys.by_owner(servers) {
            let mut client = Client::local(port).unwrap();
            for name in names {
                client.call(&["SET", &name, &keys.0[&name]]).unwrap();
            }
        }
        keys.expect("name", "caimengzhi");
        keys
    }

    /// One more that has to be there from now on.
    pub(crate) fn expect(&mut self, name: &str, value: &str) {
        self.0.insert(name.into(), value.into());
    }

    /// Every key is where its slot is, and nowhere else is any key.
    pub(crate) fn verify(&self, servers: &Installation) {
        let mut held = 0;
        for (port, names) in self.by_owner(servers) {
            let mut client = Client::local(port).unwrap();
            held += views::keys(port).unwrap();
            for name in names {
                assert_eq!(client.text(&["GET", &name]).unwrap(), self.0[&name], "{name}");
            }
        }
        assert_eq!(held, i64::try_from(self.0.len()).unwrap());
    }

    fn by_owner(&self, servers: &Installation) -> BTreeMap<u16, Vec<String>> {
        let lines = views::view(servers.port(1)).unwrap();
        let masters = lines.iter().filter(|line| !line.slots.is_empty());
        let mut owned: BTreeMap<u16, Vec<String>> =
            masters.map(|line| (line.address.port, Vec::new())).collect();
        for name in self.0.keys() {
            let slot = key_slot(name.as_bytes());
            let owner = lines.iter().find(|line| line.slots.contains(slot)).unwrap();
            owned.get_mut(&owner.address.port).unwrap().push(name.clone());
        }
        owned
    }
}
