//! A manifest as a user writes it: read, checked, and refused with the field, its value and what is allowed.

use node_server_protocol::directive::{self, Values};
use node_server_protocol::resp::request::split_quoted;
use operator_api::{RedisCluster, RedisClusterSpec};
use operator_planner::{BadDesired, Desired, Distribution, Spec};
use serde_json::Value;
use std::path::Path;

/// Largest manifest that is read, in bytes.
const FILE_MAX: u64 = 1024 * 1024;

/// Why a manifest is not followed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("could not read {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too large to be a manifest.
    #[error("{0} has more than {FILE_MAX} bytes: that is no RedisCluster manifest")]
    TooLarge(String),
    /// It is no YAML, or not the fields of a RedisCluster.
    #[error("{0}")]
    Yaml(String),
    /// It does not declare exactly one RedisCluster.
    #[error("{0}")]
    Kind(String),
    /// A rule of the resource does not hold.
    #[error("{0}")]
    Rule(String),
    /// A directive of `spec.config` cannot be set.
    #[error("{0}")]
    Config(String),
    /// A field does not hold.
    #[error(transparent)]
    Field(#[from] BadDesired),
}

/// A declaration that holds.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// As written.
    pub cluster: RedisCluster,
    /// As the planner takes it.
    pub desired: Desired,
}

/// Reads a manifest from a file.
///
/// # Errors
/// Whatever keeps it from being followed; nothing is done then.
pub fn read(path: &Path) -> Result<Manifest, ManifestError> {
    let name = path.display().to_string();
    let failed = |source| ManifestError::Read { path: name.clone(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_MAX {
        return Err(ManifestError::TooLarge(name));
    }
    parse(&std::fs::read_to_string(path).map_err(failed)?)
}

/// Reads a manifest from its text.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
    let manifest = from_object(&one_document(text)?)?;
    check_config(&manifest.cluster.spec)?;
    Ok(manifest)
}

/// Reads a RedisCluster object. `spec.config` is not checked: see [`check_config`].
///
/// # Errors
/// As [`read`].
pub fn from_object(document: &Value) -> Result<Manifest, ManifestError> {
    check_kind(document)?;
    let spec = document.get("spec").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let name = document.pointer("/metadata/name").and_then(Value::as_str).ok_or_else(|| {
        ManifestError::Kind(
            "metadata.name is missing: name the cluster, as in `metadata: {name: demo}`".into(),
        )
    })?;
    let spec: RedisClusterSpec = typed(spec)?;
    let mut cluster = RedisCluster::new(name, spec);
    cluster.metadata.generation = Some(1);
    let desired = Desired::parse(planner_spec(&cluster)?)?;
    cluster.validate_cel().map_err(|errors| {
        let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
        ManifestError::Rule(words.join("; "))
    })?;
    Ok(Manifest { cluster, desired })
}

fn one_document(text: &str) -> Result<Value, ManifestError> {
    use serde::Deserialize as _;
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value =
            Value::deserialize(document).map_err(|e| ManifestError::Yaml(format!("not YAML: {e}")))?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    match documents.len() {
        1 => Ok(documents.remove(0)),
        n => Err(ManifestError::Kind(format!("{n} documents: exactly one RedisCluster is followed"))),
    }
}

fn check_kind(document: &Value) -> Result<(), ManifestError> {
    let has = |field: &str, wanted: &str| match document.get(field) {
        Some(Value::String(value)) if value == wanted => Ok(()),
        Some(value) => Err(ManifestError::Kind(format!("{field}: {value}: must be {wanted}"))),
        None => Err(ManifestError::Kind(format!("{field} is missing: must be {wanted}"))),
    };
    has("apiVersion", "slotkeeper.dev/v1alpha1")?;
    has("kind", "RedisCluster")
}

/// Types the spec, naming the field that does not fit.
fn typed(spec: Value) -> Result<RedisClusterSpec, ManifestError> {
    serde_json::from_value::<RedisClusterSpec>(spec.clone()).map_err(|error| {
        let field = misfit(&spec)
            .map_or_else(|| "spec".to_owned(), |(field, value)| format!("spec.{field}: {value}"));
        ManifestError::Yaml(format!("{field}: {error}"))
    })
}

/// The first field that alone makes a spec unreadable.
fn misfit(spec: &Value) -> Option<(String, Value)> {
    spec.as_object()?.iter().find_map(|(field, value)| {
        let alone = Value::Object([(field.clone(), value.clone())].into_iter().collect());
        serde_json::from_value::<RedisClusterSpec>(alone).err().map(|_| (field.clone(), value.clone()))
    })
}

fn planner_spec(cluster: &RedisCluster) -> Result<Spec, ManifestError> {
    let spec = &cluster.spec;
    let name = cluster.metadata.name.clone().unwrap_or_default();
    Ok(Spec {
        name,
        masters: small(spec.masters, "spec.masters", "1 to 1000")?,
        replicas_per_master: small(spec.replicas_per_master, "spec.replicasPerMaster", "0 to 5")?,
        distribution: distribution(spec)?,
        allow_data_loss: spec.allow_data_loss(),
        paused: spec.paused,
    })
}

fn small(value: i32, field: &str, allowed: &str) -> Result<u16, ManifestError> {
    u16::try_from(value).map_err(|_| ManifestError::Rule(format!("{field}: {value}: allowed is {allowed}")))
}

fn distribution(spec: &RedisClusterSpec) -> Result<Distribution, ManifestError> {
    let Some(entries) = &spec.slots else { return Ok(Distribution::Balanced) };
    let weights = entries.iter().filter(|e| e.weight.is_some() && e.ranges.is_none()).count();
    let ranges = entries.iter().filter(|e| e.ranges.is_some() && e.weight.is_none()).count();
    if weights == entries.len() {
        let weight = |(i, e): (usize, &operator_api::SlotsEntry)| {
            small(e.weight.unwrap_or(1), &format!("spec.slots[{i}].weight"), "1 to 100")
        };
        return Ok(Distribution::Weighted(entries.iter().enumerate().map(weight).collect::<Result<_, _>>()?));
    }
    if ranges != entries.len() {
        let text = "spec.slots: every entry has either weight or ranges, and all have the same".to_owned();
        return Err(ManifestError::Rule(text));
    }
    let mut sets = Vec::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate() {
        let mut set = node_server_protocol::SlotSet::new();
        for range in entry.ranges.iter().flatten() {
            let field = || {
                ManifestError::Rule(format!(
                    "spec.slots[{i}].ranges: {range:?}: a range is two slots from 0 to 16383, the lower first, as in \"0-5460\""
                ))
            };
            let parsed: node_server_protocol::SlotRange = range.parse().map_err(|_| field())?;
            let again: Vec<_> = parsed.iter().filter(|s| !set.insert(*s)).collect();
            if let Some(slot) = again.first() {
                return Err(ManifestError::Rule(format!(
                    "spec.slots[{i}].ranges: slot {slot} is there twice"
                )));
            }
        }
        sets.push(set);
    }
    Ok(Distribution::Declared(sets))
}

/// Whether every directive can be set.
///
/// # Errors
/// The first that cannot, with its value and why.
pub fn check_config(spec: &RedisClusterSpec) -> Result<(), ManifestError> {
    let mut values = Values::default();
    for (name, value) in &spec.config {
        let text = operator_api::config::text(value);
        let refused = |why: &str| ManifestError::Config(format!("spec.config.{name}: {text:?}: {why}"));
        if operator_api::config::is_owned(name) {
            return Err(refused("the operator sets this directive itself; leave it out"));
        }
        if operator_api::config::is_of_one_node(name) {
            return Err(refused("all nodes would say the same of themselves; leave it out"));
        }
        // Said without the value: it is nobody else's to read.
        if ["requirepass", "masterauth", "masteruser"].iter().any(|p| name.eq_ignore_ascii_case(p)) {
            return Err(ManifestError::Config(format!(
                "spec.config.{name}: the operator sends no passwords in this version, so it could not reach the nodes; \
                 leave it out"
            )));
        }
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
            return Err(refused("a directive's name is letters, digits and '-'"));
        }
        if text.contains(['\n', '\r', '\0']) {
            return Err(refused("a value is one line"));
        }
        if directive::table::find(name).is_none() {
            return Err(refused("the nodes of this release know no such directive"));
        }
        let words = config_words(name, &text).ok_or_else(|| refused("its quotes are not closed"))?;
        values.apply_words(&words).map_err(|why| refused(&why))?;
    }
    directive::rules::check(&values).map_err(|broken| {
        ManifestError::Config(format!("spec.config.{}: {}", broken.directive, broken.reason))
    })
}

/// A line of redis.conf as its reader takes it apart.
fn config_words(name: &str, text: &str) -> Option<Vec<String>> {
    let value = if text.is_empty() { "\"\"" } else { text };
    let words = split_quoted(format!("{name} {value}").as_bytes())?;
    Some(words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(lines: &str) -> String {
        format!(
            "apiVersion: slotkeeper.dev/v1alpha1\nkind: RedisCluster\nmetadata: {{name: demo}}\nspec:\n{lines}"
        )
    }

    fn refused(text: &str, says: &[&str]) {
        let error = parse(text).expect_err("must be refused").to_string();
        for part in says {
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    }

    #[test]
    fn the_example_of_the_readme() {
        let manifest = parse(&spec("  masters: 3\n  replicasPerMaster: 1\n")).unwrap();
        assert_eq!(manifest.desired.masters(), 3);
        assert_eq!(manifest.desired.members().count(), 6);
    }

    #[test]
    fn bad_fields_are_named_with_value_and_what_is_allowed() {
        refused(&spec("  masters: 0\n"), &["spec.masters", "0", "at least 1"]);
        refused(&spec("  masters: -1\n"), &["spec.masters", "-1", "1 to 1000"]);
        refused(&spec("  masters: three\n"), &["spec.masters", "three"]);
        refused(&spec("  replicasPerMaster: 6\n"), &["spec.replicasPerMaster", "6", "0 to 5"]);
        refused(&spec("  master: 3\n"), &["master", "unknown field"]);
        refused(&spec("  slots: [{weight: 101}]\n"), &["spec.slots[0].weight", "101", "1 to 100"]);
        refused(
            &spec("  masters: 1\n  slots: [{ranges: [\"0-99999\"]}]\n"),
            &["spec.slots[0].ranges", "0-99999", "16383"],
        );
        refused(&spec("  masters: 1\n  slots: [{ranges: [\"0-100\"]}]\n"), &["spec.slots", "101"]);
        refused(&spec("  config: {port: 7000}\n"), &["spec.config.port", "7000", "the operator sets"]);
        for files in ["appendonly: 'yes'", "appenddirname: a", "dbfilename: a", "dir: /", "save: 900 1"] {
            refused(&spec(&format!("  config: {{{files}}}\n")), &["spec.config.", "the operator sets"]);
        }
    }

    #[test]
    fn a_directive_that_the_node_would_refuse_is_named() {
        for (config, says) in [
            ("maxmemory-polici: allkeys-lru", &["maxmemory-polici", "know no such directive"]),
            ("maxmemory-policy: some", &["maxmemory-policy", "must be one of the following"]),
            ("timeout: -1", &["spec.config.timeout", "between 0 and"]),
            ("cluster-announce-client-ipv4: 192.0.2.1", &["192.0.2.1", "all nodes would say the same"]),
            ("requirepass: secret", &["spec.config.requirepass", "sends no passwords"]),
            (
                "client-output-buffer-limit: normal 1",
                &["client-output-buffer-limit", "Wrong number of arguments"],
            ),
        ] {
            refused(&spec(&format!("  config: {{{config}}}\n")), says);
        }
        let good =
            "  config: {maxmemory: 64mb, client-output-buffer-limit: replica 1mb 1mb 60, Timeout: 5}\n";
        parse(&spec(good)).unwrap();
        let files = "  config: {appendfsync: always, auto-aof-rewrite-percentage: 50, auto-aof-rewrite-min-size: 128mb, aof-load-truncated: 'no'}\n";
        parse(&spec(files)).unwrap();
    }

    #[test]
    fn exactly_one_redis_cluster() {
        refused("", &["0 documents"]);
        refused(&format!("{}\n---\n{}", spec("  masters: 3\n"), spec("  masters: 3\n")), &["2 documents"]);
        refused("apiVersion: v1\nkind: Pod\n", &["apiVersion", "v1", "slotkeeper.dev/v1alpha1"]);
        refused("apiVersion: slotkeeper.dev/v1alpha1\nkind: RedisCluster\n", &["metadata.name"]);
        refused("a: [", &["not YAML"]);
    }
}
