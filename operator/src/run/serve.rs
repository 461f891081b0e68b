//! HTTP for those who look after the operator: `/livez`, `/readyz`, `/metrics`.

use crate::metrics::Metrics;
use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Listens and serves on a task.
///
/// # Errors
/// The address cannot be used.
pub(super) async fn start(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("--metrics-address {address}: cannot be listened on"))?;
    let text =
        move || async move { metrics.text().map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string())) };
    let readiness = move || async move {
        if ready.load(Ordering::Relaxed) {
            (StatusCode::OK, "ready")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "the API server has not answered yet")
        }
    };
    let router = Router::new()
        .route("/livez", get(|| async { "alive" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(text));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics and probes are not served any more");
        }
    });
    Ok(())
}
