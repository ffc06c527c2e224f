//! What a command works with: the services where they run, the libraries otherwise.

use std::{path::PathBuf, time::Duration};

use base::{
    CustomerLayout, Exit, Layout, Role,
    config::{Permissions, ServiceConfig},
};
use engine::{
    Chat, ChatModel, ChatOptions, EmbedTokenizer, Embedder, Embedding,
    client::{ChatClient, EmbedClient},
};

use stack::http::Endpoint;

use crate::{
    context::{Context, read_config, read_token},
    failure::{Failure, Outcome},
};

/// A service that runs answers this at once; one that does not costs no more than this.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// Room for the passages of a question and its answer.
const CONTEXT_TOKENS: u32 = 2048;

/// One customer's folder, and its services if there are any.
pub struct Parts {
    pub customer: CustomerLayout,
    pub config: Option<ServiceConfig>,
    layout: Layout,
    models: Models,
}

/// The model files of the customer.
pub struct Models {
    pub chat: base::config::ModelRef,
    pub embed: base::config::ModelRef,
}

impl Parts {
    /// Finds out what is here; opens nothing.
    pub fn find(context: &Context) -> Outcome<Self> {
        let customer = context.customer()?;
        let config = read_config(&customer)?;
        let models = match &config {
            Some(config) => Models { chat: config.chat_model.clone(), embed: config.embed_model.clone() },
            None => crate::verb::models::default_models(context)?,
        };
        Ok(Self { customer, config, layout: context.layout.clone(), models })
    }

    /// As [`Self::find`], for a verb that only looks: where nothing was ever read or installed, it says so and makes nothing.
    pub fn existing(context: &Context) -> Outcome<Self> {
        let parts = Self::find(context)?;
        if parts.config.is_some() || parts.customer.lakehouse().is_dir() {
            return Ok(parts);
        }
        let place = context
            .layout
            .root()
            .map_or_else(|| "on this machine".to_owned(), |root| format!("below `{}`", root.display()));
        let failure =
            Failure::new(Exit::Usage, format!("there is no installation {place}, and nothing was read there"));
        Err(failure
            .remedy("check `--root DIR`; `0711 ingest FOLDER --root DIR` reads a folder, `0711 install` installs"))
    }

    /// Returns the models.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Returns where a service is reached from here.
    pub async fn endpoint(&self, role: Role) -> Outcome<Endpoint> {
        Ok(stack::endpoint(&self.layout, &self.customer, role).await?)
    }

    /// Returns whether a service runs and is ready.
    pub async fn is_ready(&self, role: Role) -> bool {
        matches!(self.remote(role).await, Ok(Some(_)))
    }

    /// Returns the service's address and token, if it runs and is ready.
    async fn remote(&self, role: Role) -> Outcome<Option<(String, base::Secret)>> {
        if self.config.is_none() {
            return Ok(None);
        }
        let Ok(endpoint) = self.endpoint(role).await else { return Ok(None) };
        let url = format!("http://{endpoint}");
        let client = reqwest::Client::builder().timeout(HEALTH_TIMEOUT).no_proxy().build();
        let Ok(client) = client else { return Ok(None) };
        // The token is shown to nobody but the process the agent started: any user may listen on a port that is free.
        if !stack::RoleRecord::read(&self.customer.role_record(role)).is_some_and(|record| record.is_alive()) {
            return Ok(None);
        }
        match client.get(format!("{url}/health")).send().await {
            Ok(answer) if answer.status().is_success() => Ok(Some((url, read_token(&self.customer)?))),
            _ => Ok(None),
        }
    }

    /// Opens the lake: the service's API where it runs, the tables otherwise.
    pub async fn lake(&self) -> Outcome<lake::Access> {
        let small = ServiceConfig::SMALL_DIMENSION as usize;
        let dimension = self.config.as_ref().map_or(small, ServiceConfig::dimension);
        let spec = lake::EmbedSpec { dimension, model: self.models.embed.digest };
        let remote = self.remote(Role::Lake).await?;
        self.or_stopped(Role::Lake, remote.is_some())?;
        Ok(lake::Access::open(&self.customer, spec, remote.as_ref().map(|(url, token)| (url.as_str(), token.clone())))
            .await?)
    }

    /// Refuses to do a container's work here: the files would belong to another user than the container's, and stay closed to it.
    pub fn or_stopped(&self, role: Role, is_ready: bool) -> Outcome {
        if is_ready || self.config.as_ref().is_none_or(|config| config.containers.is_none()) {
            return Ok(());
        }
        let failure = Failure::new(Exit::Unavailable, format!("the container of `{role}` does not answer"));
        Err(failure.remedy("run `0711 start`; `0711 status` says how it is"))
    }

    /// Refuses to open a model here that only vLLM can open: a folder for graphics cards.
    fn or_beside_vllm(&self, role: Role, is_ready: bool) -> Outcome {
        match self.config.as_ref().and_then(ServiceConfig::vllm) {
            Some(_) => self.or_stopped(role, is_ready),
            None => Ok(()),
        }
    }

    /// Opens the embedding model: the service where it runs, the model file otherwise.
    pub async fn embedding(&self) -> Outcome<Embedding> {
        let remote = self.remote(Role::Embed).await?;
        self.or_beside_vllm(Role::Embed, remote.is_some())?;
        let path = present(&self.models.embed)?;
        match remote {
            Some((url, token)) => Ok(Embedding::Remote(EmbedClient::new(url, token), EmbedTokenizer::open(&path)?)),
            None => Ok(Embedding::Local(Embedder::open(&path)?)),
        }
    }

    /// Returns whether people find only what they may read; off where nothing is installed.
    pub fn permissions(&self) -> Permissions {
        self.config.as_ref().map(|config| config.permissions).unwrap_or_default()
    }

    /// Opens the chat model with the promoted adapter: the service where it runs, the model file otherwise.
    pub async fn chat(&self) -> Outcome<Chat> {
        if let Some((url, token)) = self.remote(Role::Llm).await? {
            return Ok(Chat::Remote(ChatClient::new(url, token)));
        }
        self.or_beside_vllm(Role::Llm, false)?;
        let threads = std::thread::available_parallelism().map_or(2, |count| u32::try_from(count.get()).unwrap_or(2));
        let options = ChatOptions { context_tokens: CONTEXT_TOKENS, threads };
        let model = ChatModel::open(&present(&self.models.chat)?, options)?;
        let version = (answer::promoted(self.customer.loras(), self.permissions()))();
        if version != answer::BASE
            && let Some(dir) = train::Registry::open(&self.customer.loras())?.dir(&version)
        {
            model.load_adapter(&version, &dir).await?;
        }
        Ok(Chat::Local(model))
    }
}

/// Returns the path of a model file, or says how to get it.
pub fn present(model: &base::config::ModelRef) -> Outcome<PathBuf> {
    if model.path.exists() {
        return Ok(model.path.clone());
    }
    let failure = Failure::new(Exit::Model, format!("the model `{}` is not here", model.name));
    Err(failure.remedy(format!("run `0711 models fetch {}`", model.name)))
}
