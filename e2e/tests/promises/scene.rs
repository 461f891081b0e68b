//! A cluster that is ready, and a writer at work on it.

use e2e::Declared;
use e2e::writer::{Keys, Loss, Options, Report, Writer};
use node_server_protocol::SlotSet;
use std::time::Duration;
use tokio::task::block_in_place;

/// The tutorial's ranges.
pub(crate) const THREE: [&str; 3] = ["0-5460", "5461-10922", "10923-16383"];
pub(crate) const FOUR: [&str; 4] = ["1365-5460", "6827-10922", "12288-16383", "0-1364,5461-6826,10923-12287"];
/// How long a writer may take for some writes.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Writes before and after what a test does, so that there is something to lose.
const WARM: u64 = 1000;

/// Cluster, writer and the keys that were there before.
pub(crate) struct Scene {
    pub(crate) cluster: Declared,
    pub(crate) writer: Writer,
    pub(crate) options: Options,
    keys: Vec<Keys>,
}

impl Scene {
    /// A cluster with that manifest, ready with these slots; keys are set, and the writer has written.
    pub(crate) async fn new(cluster: Declared, slots: &[&str], loss: Loss, keys: Vec<Keys>) -> Self {
        let mut cluster = cluster;
        cluster.start_operator().unwrap();
        block_in_place(|| cluster.wait_converged()).unwrap();
        assert_owned(&cluster, slots);
        let options = Options { loss, ..Options::new(&cluster.addresses().unwrap()) };
        for some in &keys {
            some.set(&options).await.unwrap();
        }
        let writer = Writer::start(options.clone()).await.unwrap();
        let scene = Self { cluster, writer, options, keys };
        scene.warm().await;
        scene
    }

    /// Three masters with a replica each, under a writer that may lose nothing.
    pub(crate) async fn three(keys: Vec<Keys>) -> Self {
        let cluster = Declared::with_spec("masters: 3, replicasPerMaster: 1").unwrap();
        Self::new(cluster, &THREE, Loss::None, keys).await
    }

    /// Some more writes.
    pub(crate) async fn warm(&self) {
        self.writer.wait_for_writes(WARM, WRITE_LIMIT).await.unwrap();
    }

    /// Waits until everything is as declared.
    pub(crate) async fn converged(&self) {
        block_in_place(|| self.cluster.wait_converged()).unwrap();
        self.warm().await;
    }

    /// Edits the manifest and waits until it is followed.
    pub(crate) async fn follow(&self, spec: &str, slots: &[&str]) {
        self.cluster.declare(spec).unwrap();
        self.converged().await;
        assert_owned(&self.cluster, slots);
    }

    /// How many slots each shard has.
    pub(crate) fn counts(&self) -> Vec<usize> {
        self.cluster.owned().unwrap().iter().map(SlotSet::len).collect()
    }

    /// The keys that were there before are all there; the writer kept its promises. Ends the operator.
    pub(crate) async fn finish(self) -> Report {
        self.end(Report::assert_clean).await
    }

    /// As [`Self::finish`]: nothing failed and nothing is lost.
    pub(crate) async fn finish_spotless(self) -> Report {
        let spotless = |report: &Report| {
            report.assert_clean();
            report.assert_no_failures();
            assert_eq!(report.lost, 0, "{report}");
        };
        self.end(spotless).await
    }

    async fn end(mut self, check: impl Fn(&Report)) -> Report {
        let report = self.writer.finish().await.unwrap();
        println!("{report}");
        for keys in &self.keys {
            let found = keys.verify(&self.options).await.unwrap();
            assert!(found.is_complete(), "{found:?}\n{report}\n{}", self.cluster.said_tail());
        }
        check(&report);
        block_in_place(|| self.cluster.interrupt_operator()).unwrap();
        report
    }
}

/// Every shard has exactly these slots.
pub(crate) fn assert_owned(cluster: &Declared, slots: &[&str]) {
    let owned: Vec<String> = cluster.owned().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(owned, slots, "{}", cluster.said_tail());
}
