//! What is asked of the lake beside search: the graph, and SQL.

use std::sync::PoisonError;

use crate::{
    Error, Lake,
    format::{GraphPath, Neighbors, NeighborsRequest, PathRequest, SqlAnswer, SqlRequest, SqlTable},
    graph::{Documents, Graph},
    index::Index,
    sql,
};

impl Documents for Index {
    fn path(&self, id: &str) -> Option<String> {
        self.documents.get(id).map(|row| row.path.clone())
    }

    fn find(&self, text: &str) -> Vec<String> {
        if self.documents.contains_key(text) {
            return vec![text.to_owned()];
        }
        let is_meant = |path: &str, name: &str| path == text || name == text;
        let found = self.documents.values().filter(|row| is_meant(&row.path, &row.name));
        found.map(|row| row.id.clone()).collect()
    }
}

impl Lake {
    /// Returns what stands around a thing documents name, nearest first.
    pub async fn neighbors(&self, request: NeighborsRequest) -> Result<Neighbors, Error> {
        self.ask(move |graph, documents| graph.neighbors(&request, documents)).await
    }

    /// Returns the shortest way between two things documents name.
    pub async fn path(&self, request: PathRequest) -> Result<GraphPath, Error> {
        self.ask(move |graph, documents| graph.path(&request, documents)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Graph, &dyn Documents) -> T + Send + 'static,
    ) -> Result<T, Error> {
        if self.inner.graph.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            // Whoever has the store writes: no commit comes between the tables and the graph made from them.
            let store = self.store().await?;
            let (entities, edges) = store.knowledge()?;
            let mut graph = Graph::default();
            graph.insert(&entities, &edges);
            *self.inner.graph.write().unwrap_or_else(PoisonError::into_inner) = Some(graph);
        }
        let this = self.clone();
        let answer = move || {
            let graph = this.inner.graph.read().unwrap_or_else(PoisonError::into_inner);
            let nothing = Graph::default();
            let index = this.index();
            question(graph.as_ref().unwrap_or(&nothing), &*index)
        };
        Ok(tokio::task::spawn_blocking(answer).await?)
    }

    /// Answers a question in SQL over the documents, what they name, and the tables of spreadsheets.
    ///
    /// Nothing can be written, made or read from elsewhere with it; see [`SqlRequest`] for what it may cost.
    ///
    /// # Errors
    /// [`Error::Refused`] when the question cannot be understood, is not a question, or costs too much; the text says which.
    pub async fn sql(&self, request: SqlRequest) -> Result<SqlAnswer, Error> {
        let sources = self.store().await?.sources(request.at).await?;
        sql::answer(self.clone(), sources, request).await
    }

    /// Returns the tables that can be asked in SQL.
    pub async fn sql_tables(&self) -> Result<Vec<SqlTable>, Error> {
        let store = self.store().await?;
        let mut tables = store.sql_tables();
        let index = self.index();
        for table in &mut tables {
            let document = table.document_id.as_deref().and_then(|id| index.documents.get(id));
            if let Some(document) = document {
                table.about = match table.about.as_str() {
                    "" => document.path.clone(),
                    place => format!("{}, {place}", document.path),
                };
            }
        }
        Ok(tables)
    }
}
