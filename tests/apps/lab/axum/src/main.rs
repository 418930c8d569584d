//! axum with reqwest, deadpool-postgres and redis. Neighbours come from the environment, and what is encrypted with.

use std::env;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use redis::AsyncCommands as _;
use serde_json::{json, Value};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Answer = Result<Json<Value>, (StatusCode, String)>;

#[derive(Clone)]
struct App {
    client: reqwest::Client,
    down_url: String,
    database: deadpool_postgres::Pool,
    cache: redis::aio::ConnectionManager,
}

impl App {
    async fn down(&self, id: i64) -> Result<Value, Failure> {
        Ok(self.client.get(format!("{}/down/{id}", self.down_url)).send().await?.json().await?)
    }

    async fn name(&self, id: i64) -> Result<Option<String>, Failure> {
        let connection = self.database.get().await?;
        let statement = format!("SELECT name FROM items WHERE id = $1 /* item {id} */");
        Ok(connection.query_opt(&statement, &[&id]).await?.map(|row| row.get(0)))
    }

    async fn cached(&self, id: i64) -> Result<Option<String>, Failure> {
        Ok(self.cache.clone().get(format!("item:{id}")).await?)
    }
}

async fn pause() {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    tokio::time::sleep(Duration::from_micros(1000 + u64::from(clock.subsec_nanos()) % 4000)).await;
}

fn failed(error: Failure) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn work(State(app): State<App>, Path(id): Path<i64>) -> Answer {
    let down = app.down(id).await.map_err(failed)?;
    pause().await;
    let name = app.name(id).await.map_err(failed)?;
    pause().await;
    let cached = app.cached(id).await.map_err(failed)?;
    Ok(Json(json!({ "id": id, "down": down, "name": name, "cached": cached })))
}

async fn straight(State(app): State<App>, Path(id): Path<i64>) -> Answer {
    let down = app.down(id).await.map_err(failed)?;
    let name = app.name(id).await.map_err(failed)?;
    let cached = app.cached(id).await.map_err(failed)?;
    Ok(Json(json!({ "id": id, "down": down, "name": name, "cached": cached })))
}

async fn fan(State(app): State<App>, Path(id): Path<i64>) -> Answer {
    let (down, name, cached) =
        tokio::try_join!(app.down(id), app.name(id), app.cached(id)).map_err(failed)?;
    Ok(Json(json!({ "id": id, "down": down, "name": name, "cached": cached })))
}

/// Returns how the database is reached: with the certificates that `SSL_CERT_FILE` names if this program encrypts.
fn database() -> Result<deadpool_postgres::Manager, Failure> {
    let url = env::var("DATABASE_URL")?;
    if env::var_os("TLS_KEY").is_none() {
        return Ok(deadpool_postgres::Manager::new(url.parse()?, tokio_postgres::NoTls));
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // The parameters are libpq's; this client knows fewer, and checks the server's name whenever it encrypts.
    let url = url.split('?').next().unwrap_or_default().to_owned() + "?sslmode=require";
    Ok(deadpool_postgres::Manager::new(url.parse()?, tokio_postgres_rustls::MakeRustlsConnect::new(tls)))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "there is a provider already")?;
    let app = App {
        client: reqwest::Client::builder().no_proxy().build()?,
        down_url: env::var("DOWN_URL")?,
        database: deadpool_postgres::Pool::builder(database()?).max_size(20).build()?,
        cache: redis::Client::open(env::var("REDIS_URL")?)?.get_connection_manager().await?,
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/paced/{id}", get(work))
        .route("/await/{id}", get(straight))
        .route("/fan/{id}", get(fan))
        .with_state(app);
    let address = format!("127.0.0.1:{}", env::var("PORT")?);
    if let (Ok(key), Ok(certificate)) = (env::var("TLS_KEY"), env::var("TLS_CERTIFICATE")) {
        let config = axum_server::tls_rustls::RustlsConfig::from_pem_file(certificate, key).await?;
        let server = axum_server::bind_rustls(address.parse()?, config);
        return Ok(server.serve(router.into_make_service()).await?);
    }
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router).await?)
}
