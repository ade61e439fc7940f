//! What is answered to which request.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use super::{Begun, Health, RedriveRequest, Reports, StreamHealth, View, guard};
use crate::chain::chain;
use crate::record;
use crate::redrive::RedriveError;
use crate::redrive::objects::INVALID_PREFIX;
use crate::status::StreamStatus;

const BODY_BYTES_MAX: usize = 64 << 10;

#[derive(Serialize)]
struct Failure<'a> {
    error: &'a str,
}

/// The answer to one request, whatever it is.
pub(super) async fn answer(request: Request<Incoming>, peer: IpAddr, view: &View) -> Response<Full<Bytes>> {
    if let Err(refusal) = guard::check(request.method(), request.uri(), request.headers(), peer) {
        return failure(refusal.status, refusal.reason);
    }
    let path = request.uri().path().to_owned();
    match (request.method().clone(), path.as_str()) {
        (Method::GET | Method::HEAD, "/health") => json(StatusCode::OK, &health(view)),
        (Method::GET | Method::HEAD, "/redrive") => {
            json(StatusCode::OK, &Reports { redrives: view.redrives.reports() })
        }
        (Method::POST, "/redrive") => begin(request, view).await,
        (_, "/health") => not_allowed("GET, HEAD"),
        (_, "/redrive") => not_allowed("GET, HEAD, POST"),
        _ => failure(StatusCode::NOT_FOUND, "there are `/health` and `/redrive`"),
    }
}

fn health(view: &View) -> Health {
    let statuses = view.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let stream = |status: &StreamStatus| StreamHealth {
        name: status.name.clone(),
        records_read: status.source.records.load(Ordering::Relaxed),
        records_delivered: status.records_delivered.load(Ordering::Relaxed),
        restarts: status.restarts.load(Ordering::Relaxed),
        millis_behind_latest: status.source.millis_behind_latest(),
        shards: status.source.shards(),
        problem: status.problem(),
    };
    Health {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state_dir: view.state_dir.clone(),
        delivery_streams: statuses.iter().map(|status| stream(status)).collect(),
    }
}

async fn begin(request: Request<Incoming>, view: &View) -> Response<Full<Bytes>> {
    let body = match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return failure(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long, or broke off"),
    };
    let request: RedriveRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &format!("the body is no redrive: {error}")),
    };
    match view.redrives.begin(request.begin(record::now())).await {
        Ok(job) => json(StatusCode::ACCEPTED, &Begun { job }),
        Err(error) => failure(status(&error), &chain(&error)),
    }
}

fn status(error: &RedriveError) -> StatusCode {
    match error {
        RedriveError::NoStream(_) => StatusCode::NOT_FOUND,
        RedriveError::UnderWay(_) => StatusCode::CONFLICT,
        RedriveError::Place(error) if error.code == INVALID_PREFIX => StatusCode::BAD_REQUEST,
        RedriveError::Place(_) => StatusCode::BAD_GATEWAY,
        RedriveError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        RedriveError::Open(_) | RedriveError::Journal(_) | RedriveError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = failure(StatusCode::METHOD_NOT_ALLOWED, methods);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn failure(status: StatusCode, error: &str) -> Response<Full<Bytes>> {
    json(status, &Failure { error })
}

fn json(status: StatusCode, what: &impl Serialize) -> Response<Full<Bytes>> {
    // Strings and numbers always serialize.
    let mut text = serde_json::to_vec(what).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
