//! Search and graph as tables of a question in SQL: `search('words', 20)` and `neighbors('product', '1020000', 2)`.
//!
//! They are run when the plan of the question is made, so that one plan joins what was found by meaning, by words and over edges
//! with every other table.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::SchemaRef,
};
use deltalake::datafusion::{
    catalog::{MemTable, Session, TableFunctionImpl, TableProvider},
    common::ScalarValue,
    error::DataFusionError,
    logical_expr::{Expr, TableType},
    physical_plan::ExecutionPlan,
    prelude::SessionContext,
    sql::sqlparser::{
        ast::{Expr as Ast, FunctionArg, FunctionArgExpr, TableFactor, Value, Visit, Visitor},
        dialect::GenericDialect,
        parser::Parser,
    },
};
use futures::future::BoxFuture;

use crate::{
    Error, Hit, Lake, Neighbor,
    columns::{Kind, Layout, Nullable, bools, longs, optional_doubles, optional_texts, texts},
    format::{Named, NeighborsRequest, SearchRequest},
};

/// The names of the functions. No table has them.
pub(crate) const NAMES: [&str; 2] = ["search", "neighbors"];

const DEFAULT_HITS: i64 = 10;
const MAX_HITS: i64 = 1_000;
const DEFAULT_DEPTH: i64 = 1;
const MAX_DEPTH: i64 = 4;
const MAX_NEIGHBORS: usize = 10_000;
/// Searches of one question: each scans everything.
const MAX_CALLS: usize = 16;

const FOUND: Layout = Layout {
    name: "search",
    columns: &[
        ("rank", Kind::Long, Nullable::No),
        ("score", Kind::Double, Nullable::Yes),
        ("similarity", Kind::Double, Nullable::Yes),
        ("document_id", Kind::Text, Nullable::No),
        ("chunk_id", Kind::Text, Nullable::No),
        ("path", Kind::Text, Nullable::No),
        ("place", Kind::Text, Nullable::No),
        ("language", Kind::Text, Nullable::Yes),
        ("text", Kind::Text, Nullable::No),
    ],
};

const NEAR: Layout = Layout {
    name: "neighbors",
    columns: &[
        ("distance", Kind::Long, Nullable::No),
        ("id", Kind::Text, Nullable::No),
        ("kind", Kind::Text, Nullable::No),
        ("key", Kind::Text, Nullable::No),
        ("name", Kind::Text, Nullable::No),
        ("from_id", Kind::Text, Nullable::No),
        ("edge", Kind::Text, Nullable::No),
        ("forward", Kind::Bool, Nullable::No),
        ("document_id", Kind::Text, Nullable::Yes),
        ("place", Kind::Text, Nullable::Yes),
        ("documents", Kind::Long, Nullable::No),
    ],
};

/// Returns what `search` is asked for in a question, so that its vectors can be made; empty where the text is no SQL.
pub fn searches_of(text: &str) -> Vec<String> {
    let Ok(statements) = Parser::parse_sql(&GenericDialect {}, text) else { return Vec::new() };
    let mut found = Searches(Vec::new());
    for statement in &statements {
        let _ = Visit::visit(statement, &mut found);
    }
    found.0.truncate(MAX_CALLS);
    found.0
}

struct Searches(Vec<String>);

impl Visitor for Searches {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> std::ops::ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(args), .. } = factor
            && name.to_string().eq_ignore_ascii_case(NAMES[0])
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Ast::Value(value)))) = args.args.first()
            && let Value::SingleQuotedString(words) = &value.value
            && !self.0.contains(words)
        {
            self.0.push(words.clone());
        }
        std::ops::ControlFlow::Continue(())
    }
}

/// Adds the functions to a question's session.
pub(super) fn register(session: &SessionContext, lake: &Lake, vectors: BTreeMap<String, Vec<f32>>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let search = Search { lake: lake.clone(), vectors, calls: calls.clone() };
    session.register_udtf(NAMES[0], Arc::new(search));
    session.register_udtf(NAMES[1], Arc::new(Near { lake: lake.clone(), calls }));
}

struct Search {
    lake: Lake,
    vectors: BTreeMap<String, Vec<f32>>,
    calls: Arc<AtomicUsize>,
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Search")
    }
}

impl TableFunctionImpl for Search {
    fn call(&self, arguments: &[Expr]) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        count(&self.calls)?;
        let usage = "`search` is asked as search('words') or search('words', how many)";
        let (text, k) = match arguments {
            [text] => (word(text, usage)?, DEFAULT_HITS),
            [text, k] => (word(text, usage)?, number(k, usage)?),
            _ => return Err(refused(usage)),
        };
        if !(1..=MAX_HITS).contains(&k) {
            return Err(refused(format!("`search` gives 1 to {MAX_HITS} hits")));
        }
        let vector = self.vectors.get(&text).cloned();
        let request = SearchRequest::hybrid(text, vector, k as usize);
        let lake = self.lake.clone();
        let run = move || {
            let (lake, request) = (lake.clone(), request.clone());
            Box::pin(async move { hits(&lake.search(request).await?) }) as BoxFuture<'static, _>
        };
        Ok(Arc::new(Made { schema: FOUND.schema(), run: Box::new(run) }))
    }
}

struct Near {
    lake: Lake,
    calls: Arc<AtomicUsize>,
}

impl fmt::Debug for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Near")
    }
}

impl TableFunctionImpl for Near {
    fn call(&self, arguments: &[Expr]) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        count(&self.calls)?;
        let usage = "`neighbors` is asked as neighbors('kind', 'key') or neighbors('kind', 'key', steps), with kind and key as \
                     `entities` has them, or 'document' and its path";
        let (kind, key, depth) = match arguments {
            [kind, key] => (word(kind, usage)?, word(key, usage)?, DEFAULT_DEPTH),
            [kind, key, depth] => (word(kind, usage)?, word(key, usage)?, number(depth, usage)?),
            _ => return Err(refused(usage)),
        };
        if !(1..=MAX_DEPTH).contains(&depth) {
            return Err(refused(format!("`neighbors` goes 1 to {MAX_DEPTH} steps")));
        }
        let request = NeighborsRequest {
            of: vec![Named { kind, key }],
            kinds: Vec::new(),
            depth: depth as u32,
            limit: MAX_NEIGHBORS,
        };
        let lake = self.lake.clone();
        let run = move || {
            let (lake, request) = (lake.clone(), request.clone());
            Box::pin(async move { near(&lake.neighbors(request).await?.neighbors) }) as BoxFuture<'static, _>
        };
        Ok(Arc::new(Made { schema: NEAR.schema(), run: Box::new(run) }))
    }
}

type Run = Box<dyn Fn() -> BoxFuture<'static, Result<RecordBatch, Error>> + Send + Sync>;

/// A table that is made when the plan is.
struct Made {
    schema: SchemaRef,
    run: Run,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made")
    }
}

#[async_trait::async_trait]
impl TableProvider for Made {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let batch = (self.run)().await.map_err(|error| refused(error.to_string()))?;
        MemTable::try_new(self.schema.clone(), vec![vec![batch]])?.scan(state, projection, filters, limit).await
    }
}

fn hits(found: &[Hit]) -> Result<RecordBatch, Error> {
    let places: Vec<String> = found.iter().map(|hit| hit.place.to_string()).collect();
    let columns: Vec<ArrayRef> = vec![
        longs(found.iter().map(|hit| hit.rank as i64)),
        optional_doubles(found.iter().map(|hit| Some(f64::from(hit.score)))),
        optional_doubles(found.iter().map(|hit| hit.similarity.map(f64::from))),
        texts(found.iter().map(|hit| hit.document_id.as_str())),
        texts(found.iter().map(|hit| hit.chunk_id.as_str())),
        texts(found.iter().map(|hit| hit.document.as_str())),
        texts(places.iter().map(String::as_str)),
        optional_texts(found.iter().map(|hit| hit.language.as_deref())),
        texts(found.iter().map(|hit| hit.text.as_str())),
    ];
    FOUND.batch(columns)
}

fn near(found: &[Neighbor]) -> Result<RecordBatch, Error> {
    let evidence = |one: &Neighbor| one.step.evidence.first().cloned();
    let first: Vec<_> = found.iter().map(evidence).collect();
    let columns: Vec<ArrayRef> = vec![
        longs(found.iter().map(|one| i64::from(one.distance))),
        texts(found.iter().map(|one| one.node.id.as_str())),
        texts(found.iter().map(|one| one.node.kind.as_str())),
        texts(found.iter().map(|one| one.node.key.as_str())),
        texts(found.iter().map(|one| one.node.name.as_str())),
        texts(found.iter().map(|one| one.step.from.as_str())),
        texts(found.iter().map(|one| one.step.kind.as_str())),
        bools(found.iter().map(|one| one.step.forward)),
        optional_texts(first.iter().map(|one| one.as_ref().map(|one| one.document_id.as_str()))),
        optional_texts(first.iter().map(|one| one.as_ref().map(|one| one.place.as_str()))),
        longs(found.iter().map(|one| one.step.documents as i64)),
    ];
    NEAR.batch(columns)
}

fn count(calls: &AtomicUsize) -> Result<(), DataFusionError> {
    match calls.fetch_add(1, Ordering::Relaxed) {
        before if before < MAX_CALLS => Ok(()),
        _ => Err(refused(format!("a question has at most {MAX_CALLS} calls of `search` and `neighbors`"))),
    }
}

fn refused(why: impl Into<String>) -> DataFusionError {
    DataFusionError::Plan(why.into())
}

fn word(argument: &Expr, usage: &str) -> Result<String, DataFusionError> {
    match argument {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => Ok(text.clone()),
        _ => Err(refused(usage)),
    }
}

fn number(argument: &Expr, usage: &str) -> Result<i64, DataFusionError> {
    match argument {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => Ok(*number),
        _ => Err(refused(usage)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_inside_questions_are_found() {
        let text = "SELECT * FROM Search('Überspannung', 3) s JOIN (SELECT * FROM search('it''s')) t ON t.rank = s.rank \
                    WHERE s.text = 'search(''no'')'";
        assert_eq!(searches_of(text), ["Überspannung", "it's"]);
        assert!(searches_of("not SQL").is_empty());
    }
}
