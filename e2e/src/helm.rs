//! helm, against any API server.

use crate::Kubectl;
use crate::tools::{helm_directory, repository};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::Command;

/// helm for one user of one API server.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    kubectl: Kubectl,
}

impl Helm {
    /// Fetches helm when it is not there.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub fn of(kubectl: &Kubectl) -> Result<Self> {
        Ok(Self { program: helm_directory()?.join("helm"), kubectl: kubectl.clone() })
    }

    /// Runs a command that must succeed, in the namespace of the `Kubectl`, and gives what it prints.
    ///
    /// # Errors
    /// It fails; the message has what it said.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", self.kubectl.kubeconfig()).current_dir(repository());
        command.args(["--namespace", self.kubectl.namespace()]).args(args);
        let done = command.output().context("could not run helm")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "helm {} failed: {said}", args.join(" "));
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }
}
