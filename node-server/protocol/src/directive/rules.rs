//! What one directive alone cannot know: combinations that are refused, and directives whose silent acceptance would
//! make somebody believe in a protection that is not there.

use super::table::{ACTED_ON, DIRECTIVES};
use super::values::Values;

/// A rule that the configuration as a whole breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Broken {
    /// The directive to change.
    pub directive: &'static str,
    /// What, why, and what to do about it.
    pub reason: String,
}

fn broken(directive: &'static str, reason: impl Into<String>) -> Result<(), Broken> {
    Err(Broken { directive, reason: reason.into() })
}

/// Checks what a whole configuration says.
///
/// # Errors
/// The first rule that is broken.
pub fn check(values: &Values) -> Result<(), Broken> {
    let refused: [(&str, bool, &str); 6] = [
        ("aclfile", !values.get("aclfile").is_empty(), "this version has no access control lists"),
        ("tls-port", values.number("tls-port") != 0, "this version has no TLS"),
        ("tls-cluster", values.is_yes("tls-cluster"), "this version has no TLS"),
        ("tls-replication", values.is_yes("tls-replication"), "this version has no TLS"),
        ("cluster-databases", values.number("cluster-databases") != 1, "a cluster has one database"),
        ("syslog-enabled", values.is_yes("syslog-enabled"), "this version logs to a file or standard output"),
    ];
    for (name, wrong, reason) in refused {
        if wrong {
            return broken(name, format!("{name}: {reason}. Remove the directive"));
        }
    }
    let replicaof = values.get("replicaof");
    if !replicaof.is_empty() {
        if values.is_yes("cluster-enabled") {
            return broken("replicaof", "replicaof directive not allowed in cluster mode");
        }
        let port = replicaof.rsplit(' ').next().unwrap_or_default();
        if !replicaof.eq_ignore_ascii_case("no one") && port.parse::<u16>().is_err() {
            return broken("replicaof", "Invalid master port");
        }
    }
    let port = values.port("port");
    if values.is_yes("cluster-enabled") && values.port("cluster-port") == 0 && port > 55_535 {
        let reason = "the cluster bus port would be above 65535. Use a lower port, or set cluster-port";
        return broken("port", format!("port {port}: {reason}"));
    }
    Ok(())
}

/// Directives that somebody set to something else than the default, and that nothing acts on in this version.
#[must_use]
pub fn without_effect(values: &Values) -> Vec<&'static str> {
    let changed = |row: usize| values.is_explicit(row) && values.text(row) != DIRECTIVES[row].default;
    let rows = DIRECTIVES.iter().enumerate();
    rows.filter(|(row, d)| changed(*row) && !ACTED_ON.contains(&d.name)).map(|(_, d)| d.name).collect()
}

/// Directives that tell the reader of the file to do something.
///
/// # Errors
/// All of them but `include`, which was followed before, are refused.
pub fn instruction(name: &str) -> Result<(), String> {
    match name.to_ascii_lowercase().as_str() {
        "user" => Err("this version has no access control lists. Remove the directive".into()),
        "rename-command" => Err("this version does not rename commands. Remove the directive".into()),
        "loadmodule" => Err("this version loads no modules. Remove the directive".into()),
        _ => Err("wrong number of arguments".into()),
    }
}
