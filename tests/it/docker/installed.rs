//! An installation in containers, and what the engine says about it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::Value;

use super::{bundle, docker, from, inspect, project, without_training};
use crate::{
    product::{Product, Run, free_port_base},
    story,
};

/// One installation.
pub struct Installed {
    pub product: Product,
    pub base: u16,
    pub project: String,
}

/// One event of an installation, and when it was told.
pub type Told = (Instant, Value);

impl Installed {
    pub fn new() -> Self {
        let (product, base) = (Product::new(), free_port_base());
        install(&product, &from(without_training(base), &bundle().0));
        let project = project(&product.customer());
        Self { product, base, project }
    }

    /// Installs once more what is installed.
    pub fn repeat(&self) -> Vec<Told> {
        install(&self.product, &["install".to_owned(), "--yes".to_owned()])
    }

    /// Installs from another bundle.
    pub fn update(&self, bundle: &Path) -> Vec<Told> {
        install(&self.product, &from(without_training(self.base), bundle))
    }

    /// Each role's container, as the engine has it.
    pub fn containers(&self) -> Vec<Value> {
        story::ROLES.iter().map(|role| inspect(&format!("{}-{role}", self.project))).collect()
    }

    pub fn ids(&self) -> Vec<String> {
        self.containers().iter().map(|container| container["Id"].as_str().unwrap().to_owned()).collect()
    }

    pub fn deployment(&self) -> PathBuf {
        self.product.customer().join("deployment")
    }

    /// Asks the gateway, as a program does.
    pub fn ask(&self, question: &str) -> Value {
        let token = fs::read_to_string(self.deployment().join("secrets/api-token")).unwrap();
        let header = self.product.folder("ask").join("header");
        fs::write(&header, format!("authorization: Bearer {}", token.trim())).unwrap();
        let body = serde_json::json!({"model": "brain", "messages": [{"role": "user", "content": question}]});
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "-H", "content-type: application/json", "-H"]);
        curl.arg(format!("@{}", header.display())).args(["-d", &body.to_string()]);
        let answer = curl.arg(format!("http://127.0.0.1:{}/v1/chat/completions", self.base)).output().unwrap();
        Run::of(answer).expect(0).json()
    }
}

fn install(product: &Product, args: &[String]) -> Vec<Told> {
    let mut command = product.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = command.arg("--json").stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told = lines.map(|line| (Instant::now(), serde_json::from_str(&line).unwrap())).collect();
    assert!(child.wait().unwrap().success(), "{told:#?}");
    told
}

pub fn has_image(id: &str) -> bool {
    docker(&["image", "inspect", id]).code == 0
}
