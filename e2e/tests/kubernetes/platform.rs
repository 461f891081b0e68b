//! The cluster that the tests run on, with the definition and the operator installed once, as a user does: by helm.

use anyhow::{Context, Result, bail};
use e2e::tools::{helm_directory, repository};
use e2e::{Helm, Kubectl};
use std::path::PathBuf;
use std::sync::LazyLock;

/// Where the operator is installed.
pub(crate) const OPERATOR_NAMESPACE: &str = "slotkeeper-system";
/// The operator's release.
pub(crate) const RELEASE: &str = "redis-operator";

static PLATFORM: LazyLock<Result<Kubectl, String>> =
    LazyLock::new(|| connect().map_err(|error| format!("{error:#}")));

/// kubectl for the cluster. Installs everything when this is first asked for.
pub(crate) fn kubectl() -> Result<Kubectl> {
    PLATFORM.clone().map_err(|error| anyhow::anyhow!("the operator could not be installed: {error}"))
}

fn connect() -> Result<Kubectl> {
    let kubectl = Kubectl::new(helm_directory()?.join("kubectl"), kubeconfig()?);
    kubectl.ok(&["get", "namespaces"]).context("the API server does not answer")?;
    install(&kubectl.in_namespace(OPERATOR_NAMESPACE))?;
    Ok(kubectl)
}

/// Installs definition and operator, in the operator's namespace.
pub(crate) fn install(operator: &Kubectl) -> Result<()> {
    let helm = Helm::of(operator)?;
    helm.ok(&[
        "upgrade",
        "--install",
        "--create-namespace",
        "redis-operator-crds",
        "charts/redis-operator-crds",
    ])?;
    upgrade(&helm, &[])
}

/// Installs the operator or changes its installation. Its pods are always new ones: an image may have been loaded under the
/// same name. A file of values is taken from `OPERATOR_VALUES`: images of another registry, for example.
pub(crate) fn upgrade(helm: &Helm, more: &[&str]) -> Result<()> {
    let run = format!("podAnnotations.run=run-{}", std::process::id());
    let mut args = vec!["upgrade", "--install", RELEASE, "charts/redis-operator", "--wait", "--timeout=5m"];
    args.extend(["--set", "logFormat=text", "--set-string", &run]);
    let values = std::env::var("OPERATOR_VALUES").ok();
    args.extend(values.iter().flat_map(|file| ["--values", file]));
    args.extend(more);
    helm.ok(&args)?;
    Ok(())
}

/// The image of the checked writer: `CHECKED_WRITER_IMAGE`, else the one that `tools/build-test-image.sh` builds.
pub(crate) fn writer_image() -> String {
    let here = || format!("docker.io/slotkeeper/checked-writer:{}", env!("CARGO_PKG_VERSION"));
    std::env::var("CHECKED_WRITER_IMAGE").unwrap_or_else(|_| here())
}

/// The file of `KUBECONFIG`, else that of the kind cluster.
fn kubeconfig() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("KUBECONFIG").filter(|name| !name.is_empty()) {
        return Ok(named.into());
    }
    let file = cache().join("kind/kubeconfig");
    if !file.is_file() {
        bail!(
            "no cluster to test on: set KUBECONFIG, or run `e2e/kind/up`, `tools/build-static.sh` and `e2e/kind/load \
             --tests` in {} first (that makes {})",
            repository().display(),
            file.display()
        );
    }
    Ok(file)
}

/// Where the project keeps what takes long to build.
pub(crate) fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("SLOTKEEPER_CACHE").unwrap_or_else(|| {
        let caches = variable("XDG_CACHE_HOME");
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
        caches.unwrap_or_else(home).join("slotkeeper")
    })
}
