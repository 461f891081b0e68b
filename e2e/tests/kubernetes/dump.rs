//! Everything that helps to understand a failure, as files.

use crate::platform::{OPERATOR_NAMESPACE, RELEASE};
use crate::scene::Scene;
use anyhow::{Context, Result};
use e2e::Kubectl;
use e2e::tools::repository;
use std::path::{Path, PathBuf};

/// Writes it and gives the directory.
pub(crate) fn write(name: &str, scene: &Scene) -> Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let dir = target.join("kubernetes-failures").join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    let here = &scene.kubectl;
    let save = |file: &str, kubectl: &Kubectl, args: &[&str]| save(&dir, file, kubectl, args);
    save(
        "objects.yaml",
        here,
        &["get", "rediscluster,pods,statefulsets,services,pdb,pvc,configmaps", "--output=yaml"],
    )?;
    save("pods", here, &["get", "pods", "--output=wide"])?;
    save("events", here, &["get", "events", "--sort-by=.lastTimestamp"])?;
    save("described", here, &["describe", "pods,rediscluster"])?;
    save("machines", here, &["get", "nodes", "--output=wide"])?;
    let operator = here.in_namespace(OPERATOR_NAMESPACE);
    let selector = format!("--selector=app.kubernetes.io/instance={RELEASE}");
    save("operator.log", &operator, &["logs", &selector, "--tail=-1", "--prefix", "--timestamps"])?;
    save("operator-before.log", &operator, &["logs", &selector, "--tail=-1", "--prefix", "--previous"])?;
    let names = here.ok(&["get", "pods", "--output=jsonpath={.items[*].metadata.name}"]).unwrap_or_default();
    for pod in names.split_whitespace() {
        save(&format!("{pod}.log"), here, &["logs", pod, "--timestamps"])?;
        save(&format!("{pod}-before.log"), here, &["logs", pod, "--timestamps", "--previous"])?;
        if pod != "client" {
            let nodes =
                ["exec", pod, "--request-timeout=10s", "--", "/node-server", "cli", "CLUSTER", "NODES"];
            save(&format!("{pod}.nodes"), here, &nodes)?;
        }
    }
    Ok(dir)
}

/// What a command gives, an error included: it belongs to what was seen.
fn save(dir: &Path, file: &str, kubectl: &Kubectl, args: &[&str]) -> Result<()> {
    let output = kubectl.run(args)?;
    std::fs::write(dir.join(file), output.stdout + &output.stderr)?;
    Ok(())
}
