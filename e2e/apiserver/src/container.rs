//! A pod's only container: a node-server on a loopback address, with the pod's volumes as directories.

use crate::held::Held;
use crate::machine::now;
use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The port of probes.
const ADMIN_PORT: u16 = 9121;
/// How long a probe waits.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// A running container.
#[derive(Debug)]
pub(crate) struct Container {
    /// The pod's name.
    pub(crate) pod: String,
    /// The pod's address.
    pub(crate) address: String,
    name: String,
    image: String,
    command: Command,
    log: PathBuf,
    process: Held,
    started_at: String,
    restarts: u32,
    last: Value,
    stopping: bool,
}

impl Container {
    pub(crate) fn start(
        pod: &Value,
        configs: &[&Value],
        program: &Path,
        dir: &Path,
        address: String,
    ) -> Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spec = &pod["spec"]["containers"][0];
        let (name, uid) = (text(&pod["metadata"]["name"]), text(&pod["metadata"]["uid"]));
        let home = dir.join(&uid);
        std::fs::create_dir_all(&home)?;
        let mut arguments: Vec<String> = spec["args"].as_array().into_iter().flatten().map(text).collect();
        for argument in &mut arguments {
            *argument = argument.replace("$(POD_IP)", &address);
        }
        let mut data = None;
        for mount in spec["volumeMounts"].as_array().into_iter().flatten() {
            let path = text(&mount["mountPath"]);
            let place = volume(pod, &text(&mount["name"]), configs, dir, &home)?;
            for argument in &mut arguments {
                *argument = argument.replace(&path, &place.to_string_lossy());
            }
            if mount["readOnly"].as_bool() != Some(true) {
                data = Some(place);
            }
        }
        let data = data.context("the container mounts nothing that it may write")?;
        let mut command = Command::new(program);
        // Files name the paths inside of a container and every address: later flags win.
        command.args(arguments).args(["--bind", &address, "--dir"]).arg(&data).current_dir(&data);
        let log = dir.join(format!("{name}.log"));
        let process = Held::start(&command, &log)?;
        let (container, image) = (text(&spec["name"]), text(&spec["image"]));
        Ok(Self {
            pod: name,
            address,
            name: container,
            image,
            command,
            log,
            process,
            started_at: now()?,
            restarts: 0,
            last: json!({}),
            stopping: false,
        })
    }

    /// Starts it again when it has ended, at once.
    pub(crate) fn keep_running(&mut self) -> Result<()> {
        if let Some(status) = self.process.ended()? {
            let finished = now()?;
            self.last = json!({"terminated": {"exitCode": status.code().unwrap_or(255), "reason": "Error",
                "startedAt": seconds(&self.started_at), "finishedAt": seconds(&finished), "containerID": self.id()}});
            self.process = Held::start(&self.command, &self.log)?;
            self.restarts += 1;
            self.started_at = finished;
        }
        Ok(())
    }

    /// Tells it to end; true when it has.
    pub(crate) fn stop(&mut self) -> Result<bool> {
        if !self.stopping {
            self.process.signal(Signal::TERM)?;
            self.stopping = true;
        }
        Ok(self.process.ended()?.is_some())
    }

    pub(crate) fn kill(&self) -> Result<()> {
        self.process.signal(Signal::KILL)
    }

    pub(crate) fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    fn id(&self) -> String {
        format!("test://{}/{}", self.pod, self.restarts)
    }

    /// As a kubelet reports it.
    pub(crate) fn status(&self) -> Result<Value> {
        let ready = self.is_ready()?;
        let condition =
            |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }});
        let started = seconds(&self.started_at);
        Ok(json!({
            "phase": "Running", "podIP": self.address, "podIPs": [{"ip": self.address}],
            "conditions": [condition("PodScheduled", true), condition("Initialized", true),
                condition("ContainersReady", ready), condition("Ready", ready)],
            "containerStatuses": [{"name": self.name, "image": self.image, "imageID": "", "containerID": self.id(),
                "ready": ready, "started": true, "restartCount": self.restarts, "lastState": self.last,
                "state": {"running": {"startedAt": started}}}],
        }))
    }

    /// What the pod's readiness probe would find.
    fn is_ready(&self) -> Result<bool> {
        let address = SocketAddr::new(self.address.parse()?, ADMIN_PORT);
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&address, PROBE_LIMIT)?;
            stream.set_read_timeout(Some(PROBE_LIMIT))?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
            let mut head = [0; 64];
            let read = stream.read(&mut head)?;
            Ok(String::from_utf8_lossy(&head[..read]).into_owned())
        };
        // A refused connection is a probe that failed.
        Ok(ask().is_ok_and(|head| head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.0 200")))
    }
}

/// Times of pods have no fractions.
fn seconds(time: &str) -> String {
    format!("{}Z", time.split('.').next().unwrap_or(time).trim_end_matches('Z'))
}

/// The directory that stands for a volume: files of a ConfigMap, a claim that outlives the pod, or an empty one.
fn volume(pod: &Value, name: &str, configs: &[&Value], dir: &Path, home: &Path) -> Result<PathBuf> {
    let volumes = pod["spec"]["volumes"].as_array();
    let volume = volumes.into_iter().flatten().find(|volume| volume["name"] == name);
    let volume = volume.with_context(|| format!("the pod has no volume {name}"))?;
    if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
        let place = dir.join(claim);
        std::fs::create_dir_all(&place)?;
        return Ok(place);
    }
    let place = home.join(name);
    std::fs::create_dir_all(&place)?;
    if let Some(wanted) = volume["configMap"]["name"].as_str() {
        let config = configs.iter().find(|config| config["metadata"]["name"] == wanted);
        let config = config.with_context(|| format!("there is no ConfigMap {wanted}"))?;
        for (file, text) in config["data"].as_object().into_iter().flatten() {
            std::fs::write(place.join(file), text.as_str().unwrap_or_default())?;
        }
    }
    Ok(place)
}
