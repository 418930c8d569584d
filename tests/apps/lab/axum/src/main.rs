//! axum with reqwest, deadpool-postgres and redis. Neighbours come from the environment.

use std::env;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use redis::AsyncCommands as _;
use serde_json::{Value, json};

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

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let config: tokio_postgres::Config = env::var("DATABASE_URL")?.parse()?;
    let manager = deadpool_postgres::Manager::new(config, tokio_postgres::NoTls);
    let app = App {
        client: reqwest::Client::builder().no_proxy().build()?,
        down_url: env::var("DOWN_URL")?,
        database: deadpool_postgres::Pool::builder(manager).max_size(20).build()?,
        cache: redis::Client::open(env::var("REDIS_URL")?)?.get_connection_manager().await?,
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/paced/{id}", get(work))
        .route("/await/{id}", get(straight))
        .route("/fan/{id}", get(fan))
        .with_state(app);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", env::var("PORT")?)).await?;
    Ok(axum::serve(listener, router).await?)
}
