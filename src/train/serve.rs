//! The role `trainer`: jobs that train, and the versions they made.

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Request, State, rejection::JsonRejection},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base::{
    Beat, Canary, Clock, CustomerLayout, Explain, Layout, Role, Secret,
    config::ServiceConfig,
    job::{JobHandle, JobRequest, JobState, Jobs},
};
use engine::client::ChatClient;
use lake::{Access, Client, EmbedSpec};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Mutex};
use tokio_util::sync::CancellationToken;

use crate::{
    BaseModel, Error, Registry, TrainJob,
    format::{FORMAT, Outcome, TrainParams},
    run::run,
};

/// Requests are small.
const LARGEST_BODY: usize = 64 << 10;
/// The seed of a job that names none.
pub const DEFAULT_SEED: u64 = 711;
/// A day: a longer budget is a mistake in the unit.
const MOST_MINUTES: u32 = 24 * 60;

struct Trainer {
    config: ServiceConfig,
    layout: CustomerLayout,
    token: Secret,
    jobs: Jobs,
    /// One training at a time: a second would halve both.
    starting: Mutex<()>,
    /// What was found of the base model, and by which size and time its file is known.
    inspected: std::sync::Mutex<Option<((u64, SystemTime), String)>>,
}

/// Serves training jobs and versions on `listener` until `shutdown`, which also asks a running
/// training to save its checkpoint and stop.
///
/// `POST /v1/jobs` with [`TrainParams`], `GET` and `DELETE /v1/jobs/{id}`, `GET /v1/versions`,
/// `POST /v1/versions/{name}/promote`, `POST /v1/versions/rollback`. All but `/health` ask for the token.
///
/// # Errors
/// [`Error::Serve`] when the listener fails, [`Error::Write`] when the jobs' folder cannot be made.
pub async fn serve(
    config: ServiceConfig,
    _layout: Layout,
    customer: CustomerLayout,
    token: Secret,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let dir = customer.jobs_dir(Role::Trainer);
    let jobs = Jobs::open(&dir).map_err(|source| Error::Write { path: dir, source })?;
    let trainer = Arc::new(Trainer {
        config,
        layout: customer,
        token,
        jobs: jobs.clone(),
        starting: Mutex::new(()),
        inspected: std::sync::Mutex::default(),
    });
    let guarded = Router::new()
        .route("/v1/jobs", post(start))
        .route("/v1/jobs/{id}", get(status).delete(cancel))
        .route("/v1/versions", get(versions))
        .route("/v1/versions/{name}/promote", post(promote))
        .route("/v1/versions/rollback", post(rollback))
        .route("/v1/pulse", get(pulse))
        .route("/v1/canary", post(canary))
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "there is no such path".to_owned()) })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&trainer), check_token))
        .with_state(trainer);
    let app = Router::new().route("/health", get(health)).fallback_service(guarded);
    let stop = async move {
        shutdown.cancelled().await;
        jobs.cancel_all();
        // A step takes seconds; the checkpoint is written after the one under way.
        let finished = async {
            while jobs.current().is_some() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(std::time::Duration::from_secs(20), finished).await.is_err() {
            tracing::warn!("the training did not stop in time; it goes on from its last checkpoint");
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await.map_err(Error::Serve)
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "role": Role::Trainer.name(), "version": env!("CARGO_PKG_VERSION") }))
}

async fn check_token(State(trainer): State<Arc<Trainer>>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown =
        shown.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match shown {
        Some((_, shown)) if trainer.token.matches(shown.trim()) => next.run(request).await,
        _ => refusal(StatusCode::UNAUTHORIZED, "the token is missing or wrong".to_owned()),
    }
}

async fn start(State(trainer): State<Arc<Trainer>>, body: Result<Json<JobRequest>, JsonRejection>) -> Response {
    let request = match body {
        Ok(Json(request)) => request,
        Err(rejection) => return refusal(rejection.status(), rejection.body_text()),
    };
    if trainer.config.vllm().is_some() {
        let reason =
            "the chat model is served by vLLM, and this version trains adapters only for its own engine's models";
        return refusal(StatusCode::BAD_REQUEST, reason.to_owned());
    }
    let params = match request.params {
        Value::Null => Ok(TrainParams { minutes: None, seed: None }),
        params => serde_json::from_value::<TrainParams>(params),
    };
    let params = match params {
        Ok(params) => params,
        Err(error) => {
            return refusal(StatusCode::BAD_REQUEST, format!("the parameters are not those of a training: {error}"));
        }
    };
    let minutes = params.minutes.unwrap_or(trainer.config.training_minutes);
    if !(1..=MOST_MINUTES).contains(&minutes) {
        return refusal(
            StatusCode::BAD_REQUEST,
            format!("a budget of {minutes} minutes is not between 1 and {MOST_MINUTES}"),
        );
    }
    let _one = trainer.starting.lock().await;
    let running = trainer.jobs.current();
    let work = Arc::clone(&trainer);
    let seed = params.seed.unwrap_or(DEFAULT_SEED);
    let key = request.key.as_deref();
    let run = move |handle: JobHandle| async move { train(work, minutes, seed, handle).await };
    if let Some(running) = running {
        // The same key joins the running job; any other waits its turn.
        let same = key.is_some_and(|key| base::Digest::of(key.as_bytes()).hex().starts_with(&running.id));
        return if same {
            Json(running).into_response()
        } else {
            refusal(StatusCode::CONFLICT, "a training runs already".to_owned())
        };
    }
    match trainer.jobs.start(key, run) {
        Ok(status) => {
            (if status.state == JobState::Running { StatusCode::ACCEPTED } else { StatusCode::OK }, Json(status))
                .into_response()
        }
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn status(State(trainer): State<Arc<Trainer>>, Path(id): Path<String>) -> Response {
    match trainer.jobs.status(&id) {
        Some(status) => Json(status).into_response(),
        None => refusal(StatusCode::NOT_FOUND, "there is no such job".to_owned()),
    }
}

async fn cancel(State(trainer): State<Arc<Trainer>>, Path(id): Path<String>) -> Response {
    match (trainer.jobs.cancel(&id), trainer.jobs.status(&id)) {
        (_, Some(status)) => Json(status).into_response(),
        (_, None) => refusal(StatusCode::NOT_FOUND, "there is no such job".to_owned()),
    }
}

async fn pulse(State(trainer): State<Arc<Trainer>>) -> Json<Beat> {
    Json(trainer.jobs.pulse().beat())
}

/// Reads the head of the base model and the registry. A model it cannot train is an answer; one it cannot read is a failure.
async fn canary(State(trainer): State<Arc<Trainer>>) -> Response {
    let look = move || {
        let registry = Registry::open(&trainer.layout.loras())?;
        let canary = Canary::default().with("trains", trainer.trains()?);
        Ok(canary.with("versions", registry.versions().len()))
    };
    match tokio::task::spawn_blocking(look).await.map_err(Error::BrokeOff).flatten() {
        Ok(canary) => Json(canary).into_response(),
        Err(error) => answer(Err(error)),
    }
}

async fn versions(State(trainer): State<Arc<Trainer>>) -> Response {
    answer(Registry::open(&trainer.layout.loras()).map(|registry| listing(&registry)))
}

async fn promote(State(trainer): State<Arc<Trainer>>, Path(name): Path<String>) -> Response {
    changed(&trainer, move |registry| registry.promote(&name, Clock::system().now())).await
}

async fn rollback(State(trainer): State<Arc<Trainer>>) -> Response {
    changed(&trainer, |registry| registry.rollback(Clock::system().now()).map(|_| ())).await
}

async fn changed(
    trainer: &Trainer,
    change: impl FnOnce(&mut Registry) -> Result<(), Error> + Send + 'static,
) -> Response {
    let loras = trainer.layout.loras();
    let work = move || {
        let mut registry = Registry::open(&loras)?;
        change(&mut registry).map(|()| registry)
    };
    let registry = match tokio::task::spawn_blocking(work).await.map_err(Error::BrokeOff).flatten() {
        Ok(registry) => registry,
        Err(error) => return answer(Err(error)),
    };
    trainer.load_promoted(&registry).await;
    Json(listing(&registry)).into_response()
}

async fn train(trainer: Arc<Trainer>, minutes: u32, seed: u64, handle: JobHandle) -> Result<Value, String> {
    let trained = trainer.train(minutes, seed, handle).await.or_else(|error| match error {
        // An installation on folders without text is an installation all the same.
        Error::TooLittleText { .. } => Ok(Outcome {
            format: FORMAT,
            version: None,
            decision: "skipped".to_owned(),
            reason: error.to_string(),
            perplexity_before: None,
            perplexity_after: None,
            steps: 0,
            tokens: 0,
            seconds: 0.0,
            tokens_per_second: 0.0,
            agreement: None,
            dir: None,
        }),
        error => Err(error),
    });
    let outcome = trained.map_err(|error| chain(&error))?;
    serde_json::to_value(outcome).map_err(|error| error.to_string())
}

impl Trainer {
    /// Returns `yes`, or why the base model cannot be trained. The head of a model has its whole vocabulary: it is read again only when
    /// the file is another one than before.
    fn trains(&self) -> Result<String, Error> {
        if self.config.vllm().is_some() {
            return Ok("no: models of the graphics card are not trained here".to_owned());
        }
        let path = &self.config.chat_model.path;
        let failed = |source: std::io::Error| Error::ReadModel { path: path.clone(), source: source.into() };
        let found = File::open(path).and_then(|file| file.metadata()).map_err(failed)?;
        let stamp = (found.len(), found.modified().map_err(failed)?);
        let mut inspected = self.inspected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, trains)) = inspected.as_ref()
            && *known == stamp
        {
            return Ok(trains.clone());
        }
        let trains = match BaseModel::inspect(path) {
            Ok(_) => "yes".to_owned(),
            Err(Error::UnsupportedModel { reason, .. }) => format!("no: {reason}"),
            Err(error) => return Err(error),
        };
        *inspected = Some((stamp, trains.clone()));
        Ok(trains)
    }

    async fn train(&self, minutes: u32, seed: u64, handle: JobHandle) -> Result<Outcome, Error> {
        let spec = EmbedSpec { dimension: self.config.dimension(), model: self.config.embed_model.digest };
        let url = self.config.url(Role::Lake);
        // Never the tables themselves: the role `lake` alone writes them, and where roles are containers nobody else even sees them.
        let lake = Access::Remote(Client::new(&url, self.token.clone(), spec)?);
        let job = TrainJob {
            base: self.config.chat_model.clone(),
            lake,
            rights: self.config.permissions.of_anybody(),
            loras_dir: self.layout.loras(),
            work_dir: self.layout.train_dir(),
            minutes,
            seed,
            threads: self.config.threads as usize,
            steps: None,
            clock: Clock::system(),
        };
        let cancel = handle.cancel_token();
        let outcome = run(job, Arc::new(move |progress| handle.progress(progress)), cancel).await?;
        self.load_promoted(&Registry::open(&self.layout.loras())?).await;
        Ok(outcome)
    }

    /// Tells the role `llm` what is promoted now, and to forget what is neither that nor the version before.
    ///
    /// A role that does not answer is no failure: it reads the registry when it starts.
    async fn load_promoted(&self, registry: &Registry) {
        let client = ChatClient::new(self.config.url(Role::Llm), self.token.clone());
        let promoted: Option<(String, PathBuf)> =
            registry.promoted().and_then(|name| Some((name.to_owned(), registry.dir(name)?)));
        if let Some((name, dir)) = &promoted
            && let Err(error) = client.load_adapter(name, dir).await
        {
            tracing::warn!(
                train.version = name,
                error = chain(&error),
                "the role llm did not load the promoted version"
            );
            return;
        }
        let before = registry.history().last().and_then(|entry| entry.before.clone());
        let keep = [promoted.map(|(name, _)| name), before];
        for name in client.adapters().await.unwrap_or_default() {
            if registry.version(&name).is_some() && !keep.iter().flatten().any(|kept| *kept == name) {
                // It costs memory only; the next change tries again.
                let _ = client.unload_adapter(&name).await;
            }
        }
    }
}

fn listing(registry: &Registry) -> Value {
    json!({
        "format": FORMAT,
        "promoted": registry.promoted(),
        "versions": registry.versions(),
        "history": registry.history(),
    })
}

fn answer(result: Result<Value, Error>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let status = match error {
                Error::UnknownVersion { .. } => StatusCode::NOT_FOUND,
                Error::Unservable { .. } | Error::NothingToRollBack => StatusCode::CONFLICT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let remedy = error.remedy().map_or(String::new(), |remedy| format!("; {remedy}"));
            refusal(status, chain(&error) + &remedy)
        }
    }
}

fn refusal(status: StatusCode, error: String) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
