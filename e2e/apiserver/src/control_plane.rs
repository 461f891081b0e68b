//! Starting etcd and kube-apiserver.

use crate::held::Held;
use crate::programs::Programs;
use anyhow::{Context, Result};
use e2e::tools::lines_of;
use e2e::{Kubectl, PortBlock, wait};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// How long the API server may take until it is ready. It takes 5 s on two idle cores.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// The administrator's token; it is good for this server only.
const ADMIN_TOKEN: &str = "admin";

/// A running etcd and kube-apiserver. Both end with this, or with the test's process.
#[derive(Debug)]
pub struct ControlPlane {
    dir: TempDir,
    server: String,
    namespaces: AtomicU32,
    // Dropped in this order: the API server does not outlive its store.
    apiserver: Held,
    _etcd: Held,
    _ports: PortBlock,
}

impl ControlPlane {
    /// Starts both and waits until the API server is ready.
    ///
    /// # Errors
    /// The programs cannot be built, or do not start; the message quotes their logs.
    pub fn start() -> Result<Self> {
        let programs = Programs::build()?;
        let dir = tempfile::Builder::new().prefix("slotkeeper-apiserver-").tempdir()?;
        let ports = PortBlock::reserve(3)?;
        programs.link_into(dir.path())?;
        write_credentials(dir.path())?;
        let etcd_url = format!("http://127.0.0.1:{}", ports.port(0));
        let peer_url = format!("http://127.0.0.1:{}", ports.port(1));
        let etcd = start_etcd(&programs.etcd, dir.path(), &etcd_url, &peer_url)?;
        let apiserver = start_apiserver(dir.path(), &etcd_url, ports.port(2))?;
        let server = format!("https://127.0.0.1:{}", ports.port(2));
        let plane =
            Self { dir, server, namespaces: AtomicU32::new(0), apiserver, _etcd: etcd, _ports: ports };
        plane.wait_ready()?;
        Ok(plane)
    }

    fn wait_ready(&self) -> Result<()> {
        let certificate = self.dir.path().join("certificates/apiserver.crt");
        let made = wait::until("kube-apiserver makes its certificate", READY_LIMIT, || certificate.exists());
        made.with_context(|| self.apiserver.log_tail())?;
        let admin = self.admin()?;
        let ready = wait::until("kube-apiserver is ready", READY_LIMIT, || {
            admin.run(&["get", "--raw=/readyz"]).is_ok_and(|output| output.ok)
        });
        ready.with_context(|| self.apiserver.log_tail())
    }

    /// The administrator, in the namespace `default`.
    ///
    /// # Errors
    /// The kubeconfig cannot be written.
    pub fn admin(&self) -> Result<Kubectl> {
        self.user("admin", ADMIN_TOKEN)
    }

    /// Whoever has this token, in the namespace `default`. `name` is the kubeconfig's file name.
    ///
    /// # Errors
    /// The kubeconfig cannot be written.
    pub fn user(&self, name: &str, token: &str) -> Result<Kubectl> {
        let kubeconfig = self.dir.path().join(format!("{name}.kubeconfig"));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": self.server,
                "certificate-authority": self.dir.path().join("certificates/apiserver.crt"),
            }}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
        });
        // Written aside and renamed: other tests may be reading it.
        let aside = tempfile::NamedTempFile::new_in(self.dir.path())?;
        std::fs::write(aside.path(), config.to_string())?;
        aside.persist(&kubeconfig)?;
        Ok(Kubectl::new(self.dir.path().join("kubectl"), kubeconfig))
    }

    /// The administrator, in a namespace of its own.
    ///
    /// # Errors
    /// The namespace cannot be made.
    pub fn fresh_namespace(&self) -> Result<Kubectl> {
        let name = format!("test-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        let admin = self.admin()?;
        admin.ok(&["create", "namespace", &name])?;
        Ok(admin.in_namespace(&name))
    }

    /// A directory of the test's own; it goes with the control plane.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// The administrator's token, and the key that service accounts' tokens are signed with.
fn write_credentials(dir: &Path) -> Result<()> {
    std::fs::write(dir.join("tokens.csv"), format!("{ADMIN_TOKEN},admin,admin,system:masters\n"))?;
    let key = dir.join("service-accounts.key");
    lines_of(
        Command::new("openssl")
            .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"])
            .arg(&key),
    )
    .context("openssl makes the key of service accounts' tokens")?;
    Ok(())
}

fn start_etcd(program: &Path, dir: &Path, client_url: &str, peer_url: &str) -> Result<Held> {
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(dir.join("etcd"));
    // What is lost when the machine stops is a test's.
    command.args(["--unsafe-no-fsync", "--log-level=warn", "--name=test"]);
    command.args(["--listen-client-urls", client_url, "--advertise-client-urls", client_url]);
    command.args(["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url]);
    command.args(["--initial-cluster", &format!("test={peer_url}")]);
    Held::start(&command, &dir.join("etcd.log"))
}

fn start_apiserver(dir: &Path, etcd_url: &str, port: u16) -> Result<Held> {
    let key = dir.join("service-accounts.key");
    let file = |flag: &str, path: PathBuf| format!("--{flag}={}", path.display());
    let mut command = Command::new(dir.join("kube-apiserver"));
    command.args([
        format!("--etcd-servers={etcd_url}"),
        format!("--secure-port={port}"),
        file("cert-dir", dir.join("certificates")),
        file("token-auth-file", dir.join("tokens.csv")),
        file("service-account-key-file", key.clone()),
        file("service-account-signing-key-file", key),
    ]);
    command.args([
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        // A loopback address cannot be an endpoint; nothing asks for it.
        "--endpoint-reconciler-type=none",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://test.invalid",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--v=1",
    ]);
    Held::start(&command, &dir.join("apiserver.log"))
}
