//! What the engine tells by itself, and what it says when asked whether all is as it was made.

use std::collections::HashMap;

use base::Role;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt;
use tokio::sync::mpsc;

use super::compose::CUSTOMER_LABEL;
use super::{Container, Docker, Engine};
use crate::Error;

/// Something that happened to a role's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The engine is there and will tell.
    Listening,
    /// Its process ended.
    Ended {
        /// Whose.
        role: Role,
        /// In words.
        how: String,
    },
    /// The kernel ended a process of it for want of memory.
    OutOfMemory {
        /// Whose.
        role: Role,
    },
    /// Its own health check failed too often.
    Unhealthy {
        /// Whose.
        role: Role,
    },
    /// It was removed.
    Removed {
        /// Whose.
        role: Role,
    },
}

/// How a container differs from the one that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// There is none.
    Absent,
    /// The container of that name belongs to somebody else.
    Foreign,
    /// It was made from another image.
    Image,
    /// It was made for another configuration.
    Config,
}

impl Docker {
    /// Tells what happens to the customer's containers, until the engine goes or `news` is closed.
    ///
    /// # Errors
    /// [`Error::Engine`] when it does not answer, or goes.
    pub async fn follow(&self, news: &mpsc::Sender<News>) -> Result<(), Error> {
        let act = "listen to the Docker engine";
        let engine = Engine::connect().await?;
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), vec![format!("{CUSTOMER_LABEL}={}", self.config().slug)]),
        ]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        let mut events = std::pin::pin!(engine.client().events(Some(options)));
        if news.send(News::Listening).await.is_err() {
            return Ok(());
        }
        while let Some(event) = events.next().await {
            let event = event.map_err(Error::engine(act))?;
            if let Some(told) = self.read(&event)
                && news.send(told).await.is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    fn read(&self, event: &EventMessage) -> Option<News> {
        let attributes = event.actor.as_ref()?.attributes.as_ref()?;
        let name = attributes.get("name")?;
        let role = Role::ALL.into_iter().find(|role| self.containers.name(*role) == *name)?;
        match event.action.as_deref()? {
            "die" => {
                let code = attributes.get("exitCode").map_or("unknown", String::as_str);
                Some(News::Ended { role, how: format!("exit code {code}") })
            }
            "oom" => Some(News::OutOfMemory { role }),
            "destroy" => Some(News::Removed { role }),
            // The engine puts the word behind a colon.
            action if action.starts_with("health_status") && action.ends_with("unhealthy") => {
                Some(News::Unhealthy { role })
            }
            _ => None,
        }
    }

    /// Returns the roles whose containers are not those that were made, and whether the engine has the images.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn differences(&self) -> Result<(Vec<(Role, Differs)>, bool), Error> {
        let engine = Engine::connect().await?;
        let (mut all, mut has_images) = (Vec::new(), true);
        for role in Role::ALL {
            let found = engine.container(&self.containers.name(role)).await?;
            all.extend(self.difference(role, found.as_ref()).map(|differs| (role, differs)));
            has_images &= engine.knows(&self.containers.image_of(role)).await?;
        }
        Ok((all, has_images))
    }

    fn difference(&self, role: Role, found: Option<&Container>) -> Option<Differs> {
        let Some(found) = found else { return Some(Differs::Absent) };
        if !self.is_ours(found) {
            return Some(Differs::Foreign);
        }
        if found.image != self.containers.image_of(role).to_string() {
            return Some(Differs::Image);
        }
        (found.config != Some(self.config_digest)).then_some(Differs::Config)
    }
}

#[cfg(test)]
mod tests {
    use base::config::{Containers, FORMAT, ModelRef, ServiceConfig};
    use base::{Clock, Digest, Layout, Slug};
    use bollard::models::EventActor;

    use super::*;

    fn docker() -> Docker {
        let slug = Slug::parse("eaton").unwrap();
        let model = ModelRef { name: "m".into(), digest: Digest::of(b"m"), path: "/m".into() };
        let containers = Containers {
            project: "0711-eaton".into(),
            image: Digest::of(b"image"),
            user: 7110,
            group: 7110,
            vllm: None,
        };
        let config = ServiceConfig {
            format: FORMAT,
            customer_name: "Eaton".into(),
            slug: slug.clone(),
            bind: [127, 0, 0, 1].into(),
            port_base: 5100,
            folders: vec![],
            chat_model: model.clone(),
            embed_model: model,
            max_documents: 1,
            training_minutes: 0,
            threads: 1,
            console_hosts: vec![],
            permissions: Default::default(),
            containers: Some(containers.clone()),
        };
        let layout = Layout::rooted("/srv/brain").customer(&slug);
        Docker::new(layout, config, containers, Digest::of(b"config"), Clock::system())
    }

    fn told(name: &str, action: &str, attributes: &[(&str, &str)]) -> Option<News> {
        let mut all: HashMap<String, String> = HashMap::from([("name".into(), name.into())]);
        all.extend(attributes.iter().map(|(key, value)| ((*key).into(), (*value).into())));
        let actor = EventActor { attributes: Some(all), ..EventActor::default() };
        docker().read(&EventMessage { action: Some(action.into()), actor: Some(actor), ..EventMessage::default() })
    }

    #[test]
    fn events_of_our_containers_are_understood_and_others_passed_over() {
        let role = Role::Lake;
        let ended = Some(News::Ended { role, how: "exit code 137".into() });
        assert_eq!(told("0711-eaton-lake", "die", &[("exitCode", "137")]), ended);
        assert_eq!(told("0711-eaton-lake", "oom", &[]), Some(News::OutOfMemory { role }));
        assert_eq!(told("0711-eaton-lake", "health_status: unhealthy", &[]), Some(News::Unhealthy { role }));
        assert_eq!(told("0711-eaton-lake", "health_status: healthy", &[]), None);
        assert_eq!(told("0711-eaton-lake", "destroy", &[]), Some(News::Removed { role }));
        assert_eq!(told("0711-eaton-lake", "exec_start", &[]), None);
        assert_eq!(told("nginx", "die", &[("exitCode", "1")]), None);
    }

    #[test]
    fn a_container_of_another_make_is_told_apart() {
        let docker = docker();
        let ours = Container {
            pid: None,
            image: docker.containers.image.to_string(),
            config: Some(docker.config_digest),
            customer: Some("eaton".into()),
            addresses: HashMap::new(),
            end: None,
        };
        let of = |found: Container| docker.difference(Role::Lake, Some(&found));
        assert_eq!(of(ours.clone()), None);
        assert_eq!(of(Container { config: None, ..ours.clone() }), Some(Differs::Config));
        assert_eq!(of(Container { image: "sha256:x".into(), ..ours.clone() }), Some(Differs::Image));
        assert_eq!(of(Container { customer: None, ..ours }), Some(Differs::Foreign));
        assert_eq!(docker.difference(Role::Lake, None), Some(Differs::Absent));
    }
}
