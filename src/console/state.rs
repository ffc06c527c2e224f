use std::{sync::Arc, time::Duration};

use answer::{Brain, VersionReader};
use base::{Clock, CustomerLayout, Pulse, Role, Secret, Timestamp, config::ServiceConfig};
use engine::{
    Chat, EmbedTokenizer, Embedding,
    client::{ChatClient, EmbedClient},
};

use crate::{
    Error,
    web::{Conversations, StatusCache},
};

/// Roles on this machine accept at once or are down.
const CONNECT: Duration = Duration::from_secs(2);

/// A socket's address holds no longer a path.
const SOCKET_PATH_MAX: usize = 108;

/// What both listeners share.
pub(crate) struct Shared {
    pub(crate) config: ServiceConfig,
    pub(crate) layout: CustomerLayout,
    pub(crate) role_token: Secret,
    pub(crate) api_token: Secret,
    pub(crate) brain: Brain,
    pub(crate) lake: lake::Access,
    pub(crate) versions: VersionReader,
    pub(crate) http: reqwest::Client,
    pub(crate) hosts: access::HostAllowList,
    pub(crate) sessions: access::Sessions,
    pub(crate) throttle: access::LoginThrottle,
    pub(crate) conversations: Conversations,
    pub(crate) status: StatusCache,
    pub(crate) clock: Clock,
    pub(crate) started: Timestamp,
    pub(crate) pulse: Pulse,
    /// The way to the agent, over the console's own socket; without it the page says less about the services.
    pub(crate) agent: Option<reqwest::Client>,
}

/// What answering needs, here or in other roles.
pub(crate) struct Parts {
    pub(crate) lake: lake::Access,
    pub(crate) embedding: Embedding,
    pub(crate) chat: Chat,
}

impl Shared {
    /// Wires the clients of the other roles together. None of them is called yet.
    ///
    /// `page_port` is the port the page listens on: the one a `Host` header may name.
    pub(crate) fn open(
        config: ServiceConfig,
        layout: CustomerLayout,
        token: Secret,
        page_port: u16,
    ) -> Result<Self, Error> {
        let tokenizer = EmbedTokenizer::open(&config.embed_model.path).map_err(Error::Tokenizer)?;
        let embedding = Embedding::Remote(EmbedClient::new(config.url(Role::Embed), token.clone()), tokenizer);
        let chat = Chat::Remote(ChatClient::new(config.url(Role::Llm), token.clone()));
        let spec = lake::EmbedSpec { dimension: config.dimension(), model: config.embed_model.digest };
        let client = lake::Client::new(&config.url(Role::Lake), token.clone(), spec).map_err(Error::Lake)?;
        let lake = lake::Access::Remote(client);
        Self::wire(config, layout, token, page_port, Parts { lake, embedding, chat })
    }

    /// Puts the parts together.
    pub(crate) fn wire(
        config: ServiceConfig,
        layout: CustomerLayout,
        role_token: Secret,
        page_port: u16,
        parts: Parts,
    ) -> Result<Self, Error> {
        let Parts { lake, embedding, chat } = parts;
        let clock = Clock::system();
        let versions = answer::promoted(layout.loras(), config.permissions);
        let brain = Brain::new(lake.clone(), embedding, chat, Arc::clone(&versions), clock);
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT).build().map_err(Error::Client)?;
        let socket = layout.console_socket();
        let is_short = socket.as_os_str().len() < SOCKET_PATH_MAX;
        let agent = reqwest::Client::builder().no_proxy().unix_socket(socket).pool_max_idle_per_host(0).build();
        Ok(Self {
            agent: agent.ok().filter(|_| is_short),
            api_token: api_token(&layout)?,
            hosts: access::HostAllowList::new(page_port, &config.console_hosts).map_err(Error::Hosts)?,
            started: clock.now(),
            config,
            layout,
            role_token,
            brain,
            lake,
            versions,
            http,
            sessions: access::Sessions::new(),
            throttle: access::LoginThrottle::new(),
            conversations: Conversations::default(),
            status: StatusCache::default(),
            clock,
            pulse: Pulse::default(),
        })
    }
}

/// Reads the API token, or makes it.
fn api_token(layout: &CustomerLayout) -> Result<Secret, Error> {
    let path = layout.api_token();
    if path.exists() {
        return Secret::read(&path).map_err(Error::ReadToken);
    }
    let token = Secret::generate().map_err(Error::WriteToken)?;
    base::file::private_dir(&layout.secrets()).map_err(Error::WriteToken)?;
    token.write(&path).map_err(Error::WriteToken)?;
    Ok(token)
}
