//! What the pods run as.

use super::Blueprint;
use super::names::metadata;
use k8s_openapi::api::core::v1::ServiceAccount;

pub(super) fn build(blueprint: &Blueprint<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(blueprint, blueprint.name().to_owned()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
