//! The programs: built by `e2e/kind/build-programs`, which takes minutes the first time and nothing afterwards.

use anyhow::{Context, Result};
use e2e::tools::{lines_of, repository};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Every Kubernetes program: the name it is called by chooses which.
    pub kubernetes: PathBuf,
    /// etcd.
    pub etcd: PathBuf,
}

impl Programs {
    /// Builds them when they are not there. `KUBERNETES` chooses the version.
    ///
    /// # Errors
    /// They cannot be built; what the script said is on standard error.
    pub fn build() -> Result<Self> {
        let script = repository().join("e2e/kind/build-programs");
        let lines = lines_of(Command::new(&script).args(["kubernetes", "etcd"]))?;
        let [kubernetes, etcd] = lines.as_slice() else {
            anyhow::bail!("{} printed {lines:?}, not two paths", script.display());
        };
        Ok(Self { kubernetes: kubernetes.into(), etcd: etcd.into() })
    }

    /// Names by which `kubernetes` is called, as links in `dir`.
    ///
    /// # Errors
    /// The links cannot be made.
    pub fn link_into(&self, dir: &Path) -> Result<()> {
        for name in ["kube-apiserver", "kubectl"] {
            std::os::unix::fs::symlink(&self.kubernetes, dir.join(name))
                .with_context(|| format!("could not link {name}"))?;
        }
        Ok(())
    }
}
