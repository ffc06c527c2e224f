//! Questions in SQL: DataFusion over the Delta tables of one commit, for reading, within limits.
//!
//! A question gets a session of its own that knows nothing but the tables it names: no files, no stores, no spilling to disk.
//! Statements that would define, change or copy anything are refused by their plan, also inside `EXPLAIN`.

mod functions;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{array::RecordBatch, datatypes::DataType};
use deltalake::datafusion::{
    error::DataFusionError,
    execution::{
        SessionStateBuilder,
        context::SQLOptions,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        runtime_env::RuntimeEnvBuilder,
    },
    logical_expr::LogicalPlan,
    prelude::{SessionConfig, SessionContext},
    sql::{parser::Statement, sqlparser::ast},
};
use futures::StreamExt;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Error, Lake,
    format::{SqlAnswer, SqlColumn, SqlRequest},
    show::cells,
    store::{Source, Sources},
    table::open_at,
};

pub use functions::searches_of;

/// What a question may hold in memory; one that needs more is given up.
const MEMORY_BYTES: usize = 256 << 20;
/// The longest question.
const MAX_TEXT: usize = 64 << 10;
/// The most an answer may hold, whatever rows were asked for.
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// The most that is looked at at once: a value is not shown before this is known.
const MAX_BATCH_BYTES: usize = 256 << 20;
/// The most rows of one answer.
const MAX_ROWS: usize = 1_000_000;
/// The longest a question may take.
const MAX_SECONDS: u64 = 600;

/// Functions that collect all rows into one value. The memory pool does not count what it holds: two million texts went through, a minute
/// after the question's time was over.
const COLLECTING: [&str; 2] = ["array_agg", "string_agg"];

/// Functions that make a value of any size out of a number: the memory of a value is not counted before it is there.
const UNBOUNDED: [&str; 11] = [
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "range",
    "generate_series",
    "gen_series",
    "space",
];

/// Answers a question.
pub(crate) async fn answer(lake: Lake, sources: Sources, request: SqlRequest) -> Result<SqlAnswer, Error> {
    let started = Instant::now();
    if request.text.len() > MAX_TEXT {
        return refuse(format!("a question has at most {MAX_TEXT} bytes"));
    }
    let seconds = request.max_seconds.clamp(1, MAX_SECONDS);
    let commit = sources.commit;
    // An operator that is busy hears of the end only when it next waits: in a task of its own nobody waits for it.
    let mut task = AbortOnDropHandle::new(tokio::spawn(async move { run(&lake, &sources, request).await }));
    let (columns, rows, truncated) = match tokio::time::timeout(Duration::from_secs(seconds), &mut task).await {
        Ok(done) => done??,
        Err(_) => return refuse(format!("it took longer than {seconds} s: ask for less, or allow more time")),
    };
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(SqlAnswer { columns, rows, truncated, commit, elapsed_ms })
}

const ONLY_QUESTIONS: &str = "only questions are answered here: nothing can be made, changed, set or copied";

/// Returns whether a statement looks like a question. What it would really do is judged by its plan; this comes first, so that who tries to make
/// a table is not told that there is none of that name.
fn is_question(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(inner) => {
            matches!(
                **inner,
                ast::Statement::Query(_) | ast::Statement::Explain { .. } | ast::Statement::ExplainTable { .. }
            )
        }
        Statement::Explain(explained) => is_question(&explained.statement),
        _ => false,
    }
}

type Answered = (Vec<SqlColumn>, Vec<Vec<Value>>, bool);

async fn run(lake: &Lake, sources: &Sources, request: SqlRequest) -> Result<Answered, Error> {
    let session = session()?;
    let state = session.state();
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(&request.text, &dialect).map_err(explain)?;
    if !is_question(&statement) {
        return refuse(ONLY_QUESTIONS.to_owned());
    }
    for reference in state.resolve_table_references(&statement).map_err(explain)? {
        let name = reference.table();
        if functions::NAMES.iter().any(|function| name.eq_ignore_ascii_case(function)) {
            // Called, it is no table; as a table, the planner finds none.
            if !sources.is_newest {
                return refuse(format!("`{name}` knows the newest commit only: ask without an older one"));
            }
            continue;
        }
        let Some(source) =
            sources.tables.get(name).filter(|_| reference.schema().is_none_or(|schema| schema == "public"))
        else {
            return refuse(unknown(&reference.to_string(), sources));
        };
        if !session.table_exist(name).map_err(explain)? {
            let table = provider(name, source, sources).await?;
            session.register_table(name, table).map_err(explain)?;
        }
    }
    let vectors = request.vectors.into_iter().map(|asked| (asked.text, asked.vector)).collect();
    functions::register(&session, lake, vectors);
    let plan = session.state().statement_to_plan(statement).await.map_err(explain)?;
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(&plan).map_err(|_| Error::Refused(ONLY_QUESTIONS.to_owned()))?;
    if let LogicalPlan::Analyze(_) = plan {
        return refuse("`EXPLAIN ANALYZE` is not answered; `EXPLAIN` is".to_owned());
    }
    let frame = session.execute_logical_plan(plan).await.map_err(explain)?;
    let columns: Vec<SqlColumn> = frame
        .schema()
        .fields()
        .iter()
        .map(|field| SqlColumn { name: field.name().clone(), kind: kind(field.data_type()) })
        .collect();
    let mut stream = frame.execute_stream().await.map_err(explain)?;
    let max_rows = request.max_rows.min(MAX_ROWS);
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(explain)?;
        let room = max_rows - rows.len();
        let taken = batch.slice(0, batch.num_rows().min(room));
        if taken.get_array_memory_size() > MAX_BATCH_BYTES {
            return refuse("the answer has values of many megabytes: ask for parts of them".to_owned());
        }
        bytes += append(&taken, &mut rows)?;
        if batch.num_rows() > room || bytes > MAX_ANSWER_BYTES {
            return Ok((columns, rows, true));
        }
    }
    Ok((columns, rows, false))
}

fn session() -> Result<SessionContext, Error> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(MEMORY_BYTES, 1.0).with_disk_manager_builder(disk);
    let runtime = runtime.build_arc().map_err(explain)?;
    // Two threads: searches and commits go on beside it.
    let config = SessionConfig::new().with_target_partitions(2).with_information_schema(false);
    let state =
        SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features().build();
    let session = SessionContext::new_with_state(state);
    for name in UNBOUNDED {
        session.deregister_udf(name);
        session.deregister_udtf(name);
    }
    COLLECTING.iter().for_each(|name| session.deregister_udaf(name));
    Ok(session)
}

async fn provider(
    name: &str,
    source: &Source,
    sources: &Sources,
) -> Result<Arc<dyn deltalake::datafusion::catalog::TableProvider>, Error> {
    let failed = || Error::table("open", "of the question");
    let table = open_at(&source.folder, source.version).await.map_err(failed())?;
    if !sources.is_newest {
        let state = table.snapshot().map_err(failed())?;
        let is_whole = state.log_data().iter().all(|view| source.folder.join(view.path().as_ref()).exists());
        if !is_whole {
            let why =
                format!("`{name}` is not there any more as it was at commit {}: a vacuum removed it", sources.commit.0);
            return refuse(why);
        }
    }
    table.table_provider().await.map_err(explain)
}

fn unknown(name: &str, sources: &Sources) -> String {
    let names: Vec<&str> = sources.tables.keys().map(String::as_str).collect();
    let near: Vec<&str> =
        names.iter().copied().filter(|known| known.contains(name) || name.contains(known)).take(5).collect();
    let shown = if near.is_empty() { names.into_iter().take(20).collect() } else { near };
    format!("there is no table `{name}`; there are `{}`", shown.join("`, `"))
}

fn refuse<T>(why: String) -> Result<T, Error> {
    Err(Error::Refused(why))
}

/// Says what the planner says, on one line and without where in its source it said so.
fn explain(error: DataFusionError) -> Error {
    if let DataFusionError::ResourcesExhausted(_) = error.find_root() {
        return Error::Refused(format!("it needs more than {} MB of memory: ask for less", MEMORY_BYTES >> 20));
    }
    let text = error.strip_backtrace();
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(600).collect();
    Error::Refused(line)
}

fn kind(kind: &DataType) -> String {
    match kind {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        kind if kind.is_integer() => "bigint".to_owned(),
        kind if kind.is_floating() => "double".to_owned(),
        kind => kind.to_string().to_lowercase(),
    }
}

/// Appends a batch's rows, and returns roughly how many bytes they take.
fn append(batch: &RecordBatch, rows: &mut Vec<Vec<Value>>) -> Result<usize, Error> {
    let failed = |source| Error::Columns { table: "the answer", source };
    let first = rows.len();
    rows.extend((0..batch.num_rows()).map(|_| Vec::with_capacity(batch.num_columns())));
    let mut bytes = 0;
    for column in batch.columns() {
        let cells = cells(column).map_err(failed)?;
        for (row, cell) in rows[first..].iter_mut().zip(cells) {
            bytes += 16 + cell.as_str().map_or(0, str::len);
            row.push(cell);
        }
    }
    Ok(bytes)
}
