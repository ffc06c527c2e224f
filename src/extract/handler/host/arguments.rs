//! What a handler passed to a host function, checked: positions, names, types, ranges.

use monty_types::MontyObject;

/// A mistake of the handler, raised in it as this exception.
#[derive(Debug, PartialEq)]
pub(super) enum Mistake {
    /// A value of the wrong type, too many values, or one missing.
    Type(String),
    /// A value of the right type that makes no sense.
    Value(String),
    /// A range that is not in the file.
    Index(String),
}

/// The values of one call, by the function's parameters.
pub(super) struct Arguments {
    function: &'static str,
    parameters: &'static [&'static str],
    values: Vec<Option<MontyObject>>,
}

impl Arguments {
    pub fn new(
        function: &'static str,
        parameters: &'static [&'static str],
        positional: Vec<MontyObject>,
        named: Vec<(MontyObject, MontyObject)>,
    ) -> Result<Self, Mistake> {
        if positional.len() > parameters.len() {
            let text = format!("{function}() takes {} values, not {}", parameters.len(), positional.len());
            return Err(Mistake::Type(text));
        }
        let mut values: Vec<Option<MontyObject>> = positional.into_iter().map(Some).collect();
        values.resize_with(parameters.len(), || None);
        for (name, value) in named {
            let MontyObject::String(name) = name else {
                return Err(Mistake::Type(format!("{function}() takes names that are texts")));
            };
            match parameters.iter().position(|parameter| *parameter == name) {
                Some(at) if values[at].is_none() => values[at] = Some(value),
                Some(_) => return Err(Mistake::Type(format!("{function}() got `{name}` twice"))),
                None => {
                    let name: String = name.chars().take(40).collect();
                    return Err(Mistake::Type(format!("{function}() has no parameter `{name}`")));
                }
            }
        }
        Ok(Self { function, parameters, values })
    }

    /// Takes the value at a position; `None` where it was not given, or given as `None`.
    fn take(&mut self, at: usize) -> Option<MontyObject> {
        self.values.get_mut(at).and_then(Option::take).filter(|value| !matches!(value, MontyObject::None))
    }

    fn wrong(&self, at: usize, wanted: &str) -> Mistake {
        Mistake::Type(format!("{}(): `{}` must be {wanted}", self.function, self.parameters[at]))
    }

    /// An integer from 0 on.
    pub fn count(&mut self, at: usize) -> Result<usize, Mistake> {
        self.optional_count(at)?.ok_or_else(|| self.wrong(at, "an integer"))
    }

    pub fn optional_count(&mut self, at: usize) -> Result<Option<usize>, Mistake> {
        let negative =
            || Mistake::Value(format!("{}(): `{}` is negative or too large", self.function, self.parameters[at]));
        match self.values.get_mut(at).and_then(Option::take) {
            None | Some(MontyObject::None) => Ok(None),
            Some(MontyObject::Int(value)) => usize::try_from(value).map(Some).map_err(|_| negative()),
            Some(MontyObject::BigInt(_)) => Err(negative()),
            Some(_) => Err(self.wrong(at, "an integer")),
        }
    }

    pub fn text(&mut self, at: usize) -> Result<String, Mistake> {
        self.optional_text(at)?.ok_or_else(|| self.wrong(at, "a text"))
    }

    pub fn optional_text(&mut self, at: usize) -> Result<Option<String>, Mistake> {
        match self.take(at) {
            None => Ok(None),
            Some(MontyObject::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(at, "a text")),
        }
    }

    pub fn bytes(&mut self, at: usize) -> Result<Vec<u8>, Mistake> {
        match self.take(at) {
            Some(MontyObject::Bytes(bytes)) => Ok(bytes),
            _ => Err(self.wrong(at, "bytes")),
        }
    }

    pub fn flag(&mut self, at: usize) -> Result<bool, Mistake> {
        match self.take(at) {
            None => Ok(false),
            Some(MontyObject::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.wrong(at, "True or False")),
        }
    }

    /// A dictionary whose keys are texts and whose values are plain, as cells of text.
    pub fn record(&mut self, at: usize) -> Result<Vec<(String, String)>, Mistake> {
        let Some(MontyObject::Dict(pairs)) = self.take(at) else { return Err(self.wrong(at, "a dictionary")) };
        let mut cells: Vec<(String, String)> = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let MontyObject::String(key) = key else {
                return Err(Mistake::Type(format!("{}(): every key must be a text", self.function)));
            };
            let cell = cell(&value).ok_or_else(|| {
                let key: String = key.chars().take(40).collect();
                Mistake::Type(format!(
                    "{}(): the value of `{key}` must be a text, a number, a truth value, a date, None or a list of these; decode bytes first",
                    self.function
                ))
            })?;
            cells.push((key, cell));
        }
        Ok(cells)
    }
}

/// An integer longer than this is no value of a record, and writing it out takes a time that grows with its square.
const MAX_INTEGER_BITS: u64 = 4_096;
/// A list in a cell is a few values.
const MAX_LIST: usize = 1_000;

/// A value as the text of a cell.
fn cell(value: &MontyObject) -> Option<String> {
    Some(match value {
        MontyObject::None => String::new(),
        MontyObject::String(text) => text.clone(),
        MontyObject::Bool(true) => "true".to_owned(),
        MontyObject::Bool(false) => "false".to_owned(),
        MontyObject::Int(number) => number.to_string(),
        MontyObject::BigInt(number) if number.bits() <= MAX_INTEGER_BITS => number.to_string(),
        MontyObject::Float(number) if number.is_finite() => number.to_string(),
        MontyObject::Float(_) => String::new(),
        MontyObject::Date(_) | MontyObject::DateTime(_) | MontyObject::Time(_) => plain_date(value)?,
        MontyObject::List(items) | MontyObject::Tuple(items) if items.len() <= MAX_LIST => {
            // Flat ones only: how deep a list goes is for nobody but its maker to bound.
            if items.iter().any(|item| matches!(item, MontyObject::List(_) | MontyObject::Tuple(_))) {
                return None;
            }
            items.iter().map(cell).collect::<Option<Vec<String>>>()?.join(", ")
        }
        _ => return None,
    })
}

/// A date or time as ISO 8601 writes it.
fn plain_date(value: &MontyObject) -> Option<String> {
    Some(match value {
        MontyObject::Date(date) => format!("{:04}-{:02}-{:02}", date.year, date.month, date.day),
        MontyObject::Time(time) => format!("{:02}:{:02}:{:02}", time.hour, time.minute, time.second),
        MontyObject::DateTime(at) => {
            format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", at.year, at.month, at.day, at.hour, at.minute, at.second)
        }
        _ => return None,
    })
}
