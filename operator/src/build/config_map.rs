//! redis.conf.

use super::Blueprint;
use super::names::{ADMIN_PORT, CLIENT_PORT, metadata};
use k8s_openapi::api::core::v1::ConfigMap;
use std::collections::BTreeMap;

/// The key in the ConfigMap, and the file's name.
pub(super) const FILE: &str = "redis.conf";
/// Node timeout of pods unless `spec.config` says otherwise, in milliseconds.
const NODE_TIMEOUT_MS: u64 = 5_000;

pub(super) fn build(blueprint: &Blueprint<'_>) -> ConfigMap {
    ConfigMap {
        metadata: metadata(blueprint, blueprint.name().to_owned()),
        data: Some(BTreeMap::from([(FILE.to_owned(), redis_conf(blueprint))])),
        ..ConfigMap::default()
    }
}

/// The text of redis.conf.
pub(super) fn redis_conf(blueprint: &Blueprint<'_>) -> String {
    let mut lines = vec![
        "# Written by the Slotkeeper operator; changes here are lost.".to_owned(),
        format!("port {CLIENT_PORT}"),
        format!("admin-port {ADMIN_PORT}"),
        "bind * -::*".to_owned(),
        "protected-mode no".to_owned(),
        "daemonize no".to_owned(),
        "set-proc-title no".to_owned(),
        "cluster-enabled yes".to_owned(),
        "cluster-config-file nodes.conf".to_owned(),
    ];
    let spec = &blueprint.cluster.spec;
    let config = &spec.config;
    let is_set = |directive: &str| config.keys().any(|name| name.eq_ignore_ascii_case(directive));
    let files = operator_api::config::files(spec.storage.is_some()).iter();
    lines.extend(files.filter(|(name, _)| !is_set(name)).map(|(name, value)| format!("{name} {value}")));
    if !is_set("cluster-node-timeout") {
        lines.push(format!("cluster-node-timeout {NODE_TIMEOUT_MS}"));
    }
    let (name, value) = operator_api::config::STAY;
    if !is_set(name) {
        lines.push(format!("{name} {value}"));
    }
    for (name, value) in config {
        let text = operator_api::config::text(value);
        let text = if text.is_empty() { "\"\"".to_owned() } else { text };
        lines.push(format!("{} {text}", name.to_ascii_lowercase()));
    }
    lines.push(String::new());
    lines.join("\n")
}
