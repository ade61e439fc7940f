//! Whether a server can be reached: the connection of a request, made and thrown away.
//!
//! Always true: nothing is sent but what makes the connection, by the same proxy and with the same certificates as requests have.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use reqwest::ClientBuilder;
use tower_layer::Layer;
use tower_service::Service;

use crate::chain::chain;

type BoxError = Box<dyn Error + Send + Sync>;

/// Why there is no connection.
#[derive(Debug)]
pub enum Unreached {
    /// Of ours.
    Client(String),
    Connection(reqwest::Error),
}

/// The connection is there, and nobody goes on with it.
#[derive(Debug, thiserror::Error)]
#[error("the connection is made")]
struct Reached;

/// Makes a connection for `url` as a client of `builder` would for a request.
pub async fn reach(builder: ClientBuilder, url: &str) -> Result<(), Unreached> {
    let client = builder.connector_layer(StopThere).build().map_err(|error| Unreached::Client(chain(&error)))?;
    match client.get(url).send().await {
        Err(error) if !is_reached(&error) => Err(Unreached::Connection(error)),
        // No request can be answered without a connection.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn is_reached(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<Reached>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[derive(Clone)]
struct StopThere;

/// Makes connections, and fails with each that it has made.
#[derive(Clone)]
struct Stopping<S>(S);

impl<S> Layer<S> for StopThere {
    type Service = Stopping<S>;

    fn layer(&self, connector: S) -> Stopping<S> {
        Stopping(connector)
    }
}

impl<S, R> Service<R> for Stopping<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let connecting = self.0.call(request);
        Box::pin(async move {
            connecting.await?;
            Err(BoxError::from(Reached))
        })
    }
}
