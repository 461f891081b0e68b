//! The short version of `e2e/soak --crash`, and a loss that it must find.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, and clippy takes only test functions for one"
)]

use e2e::crashes::{Crashes, Mode, Options, Summary};
use std::fs::File;
use std::path::{Path, PathBuf};

const KILLS: u64 = 10;
/// Masters of a cluster take no writes for two seconds after their start.
const CLUSTER_KILLS: u64 = 3;

fn options(mode: Mode, masters: u16, kills: u64, dir: &Path) -> Options {
    Options { mode, masters, kills, seed: 1, dir: dir.to_owned() }
}

async fn soak(mode: Mode, masters: u16, kills: u64) -> Summary {
    let dir = tempfile::tempdir().unwrap();
    let options = options(mode, masters, kills, dir.path());
    let summary = Crashes::start(options).await.unwrap().run(|_| ()).await.unwrap();
    println!("{summary}");
    assert_eq!((summary.kills, summary.broken_count), (kills, 0), "{summary}");
    summary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn always_loses_nothing() {
    assert_eq!(soak(Mode::Always, 1, KILLS).await.lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn always_loses_nothing_with_three_masters() {
    assert_eq!(soak(Mode::Always, 3, CLUSTER_KILLS).await.lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everysec_loses_two_seconds_at_most() {
    soak(Mode::EverySecond, 1, KILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_loss_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut crashes = Crashes::start(options(Mode::Always, 1, KILLS, dir.path())).await.unwrap();
    for _ in 0..KILLS {
        let killed = crashes.kill().await.unwrap();
        cut(&last_increment(killed.dir()));
        let summary = crashes.recover(killed).await.unwrap();
        println!("{summary}");
        assert_eq!(summary.lost > 0, summary.broken_count > 0, "{summary}");
        if summary.lost > 0 {
            return;
        }
    }
    panic!("half of a file is gone, and nobody misses anything");
}

/// The increment that is written to.
fn last_increment(dir: &Path) -> PathBuf {
    let dir = dir.join("appendonlydir");
    let manifest = std::fs::read_to_string(dir.join("appendonly.aof.manifest")).unwrap();
    let line = manifest.lines().rfind(|line| line.ends_with("type i")).unwrap();
    dir.join(line.split(' ').nth(1).unwrap())
}

/// Cuts half of it off. What was there may be writes under way, which nobody misses; most times it is more.
fn cut(file: &Path) {
    let file = File::options().write(true).open(file).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}
