//! Figures with the settings they were measured under.

use std::fmt::Display;
use std::io::Write;

use serde_json::{Map, Value, json};

use crate::machine;
use crate::stand::Place;

/// One measurement.
pub(crate) struct Section {
    name: &'static str,
    title: &'static str,
    settings: Vec<(&'static str, String)>,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

struct Figure {
    key: &'static str,
    words: &'static str,
    value: f64,
    unit: &'static str,
}

impl Section {
    pub(crate) fn new(name: &'static str, title: &'static str) -> Self {
        Self { name, title, settings: Vec::new(), figures: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn setting(&mut self, name: &'static str, value: impl Display) {
        self.settings.push((name, value.to_string()));
    }

    pub(crate) fn figure(&mut self, key: &'static str, words: &'static str, value: f64, unit: &'static str) {
        self.figures.push(Figure { key, words, value, unit });
    }

    /// Something that a reader must know to read the figures.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn text(&self) -> String {
        let mut text = format!("\n{} - {}\n", self.name, self.title);
        if !self.settings.is_empty() {
            let settings: Vec<String> =
                self.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
            text.push_str(&format!("  [{}]\n", settings.join(", ")));
        }
        let width = self.figures.iter().map(|figure| figure.words.chars().count()).max().unwrap_or(0);
        for Figure { words, value, unit, .. } in &self.figures {
            text.push_str(&format!("  {words:<width$}  {:>12} {unit}\n", number(*value)));
        }
        for note in &self.notes {
            text.push_str(&format!("  ! {note}\n"));
        }
        text
    }

    fn json(&self) -> Value {
        let settings: Map<String, Value> =
            self.settings.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let figures: Map<String, Value> =
            self.figures.iter().map(|figure| (figure.key.to_owned(), json!(figure.value))).collect();
        json!({ "name": self.name, "settings": settings, "figures": figures, "notes": self.notes })
    }
}

/// With thousands apart and as many decimals as mean something.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match rest {
        Some(rest) => format!("{sign}{grouped}.{rest}"),
        None => format!("{sign}{grouped}"),
    }
}

/// A run.
pub(crate) struct Report {
    run: Value,
    as_json: bool,
    sections: Vec<Section>,
}

impl Report {
    /// Says what is measured where.
    pub(crate) fn new(place: &Place, quick: bool, as_json: bool) -> Self {
        let run = json!({
            "cores": machine::cores(),
            "processor": machine::processor(),
            "memoryGb": machine::memory_gb(),
            "loadBefore": machine::load(),
            "database": if place.on_postgres() { "Postgres" } else { "SQLite" },
            "build": place.build(),
            "quick": quick,
        });
        let report = Self { run, as_json, sections: Vec::new() };
        if !as_json {
            let database = if place.on_postgres() { "Postgres" } else { "SQLite, synchronous=FULL" };
            say(&format!(
                "{} cores ({}), {} GB, load before {}; build {}; {database}; service, simulator and load generator share the cores{}",
                machine::cores(),
                machine::processor(),
                machine::memory_gb(),
                machine::load(),
                place.build(),
                if quick { "; QUICK: nothing here is a measurement" } else { "" },
            ));
        }
        report
    }

    /// Takes a measurement in; as text it is shown at once.
    pub(crate) fn add(&mut self, section: Section) {
        if !self.as_json {
            say(section.text().trim_end());
        }
        self.sections.push(section);
    }

    /// Shows what was not shown yet.
    pub(crate) fn finish(mut self) {
        if self.as_json {
            self.run["parts"] = self.sections.iter().map(Section::json).collect();
            say(&format!("{:#}", self.run));
        }
    }
}

/// A reader that went away is no failure.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_short_and_grouped() {
        let shown: Vec<String> = [1_234_567.8, 999.4, 42.25, 1.5, 0.0625, -1234.0].map(number).to_vec();
        assert_eq!(shown, ["1,234,568", "999", "42.2", "1.50", "0.062", "-1,234"]);
    }
}
