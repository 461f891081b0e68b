//! Names for pods, and a first address for clients.

use super::Blueprint;
use super::names::{BUS_PORT, CLIENT_PORT, cluster_selector, headless_name, metadata};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Gives every pod a name. Nodes talk before they are ready, so it names those that are not.
pub(super) fn headless(blueprint: &Blueprint<'_>) -> Service {
    Service {
        metadata: metadata(blueprint, headless_name(blueprint.name())),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            publish_not_ready_addresses: Some(true),
            selector: Some(cluster_selector(blueprint.name())),
            ports: Some(vec![port("client", CLIENT_PORT), port("bus", BUS_PORT)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Any node that is ready.
pub(super) fn client(blueprint: &Blueprint<'_>) -> Service {
    Service {
        metadata: metadata(blueprint, blueprint.name().to_owned()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(cluster_selector(blueprint.name())),
            ports: Some(vec![port("client", CLIENT_PORT)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port: i32::from(number),
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::String(name.into())),
        ..ServicePort::default()
    }
}
