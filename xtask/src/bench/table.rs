//! Figures as a table for a terminal.

use serde_json::Value;

use super::budget::Budget;

/// One row.
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) value: f64,
    /// Smallest and largest round.
    pub(super) spread: Option<(f64, f64)>,
    pub(super) budget: Option<Budget>,
    /// What is written to the file.
    pub(super) kept: Value,
}

/// Returns the table, one line a figure, columns aligned.
pub(super) fn render(figures: &[Figure]) -> String {
    let header = ["figure", "median", "rounds", "unit", "budget", ""].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(header).chain(figures.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let [figure, median, rounds, unit, budget, verdict] = row;
        let [a, b, c, d, e, _] = widths;
        format!("  {figure:a$}  {median:>b$}  {rounds:>c$}  {unit:d$}  {budget:e$}  {verdict}")
            .trim_end()
            .to_owned()
            + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(figure: &Figure) -> [String; 6] {
    let spread = figure.spread.map(|(min, max)| format!("{}–{}", number(min), number(max)));
    let verdict = figure.budget.map(|budget| if budget.holds(figure.value) { "held" } else { "MISSED" });
    [
        figure.name.clone(),
        number(figure.value),
        spread.unwrap_or_default(),
        figure.unit.clone(),
        figure.budget.map(|budget| budget.to_string()).unwrap_or_default(),
        verdict.unwrap_or_default().to_owned(),
    ]
}

/// Three digits that matter: more would pretend to a precision that no bench has.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_whether_budgets_hold() {
        let figure = |name: &str, value, budget| Figure {
            name: name.to_owned(),
            unit: "ns".to_owned(),
            value,
            spread: Some((value - 1.0, value + 1.0)),
            budget,
            kept: Value::Null,
        };
        let figures = [
            figure("a", 12.0, Some(Budget::AtMost(60.0))),
            figure("long name", 400.0, Some(Budget::AtMost(60.0))),
            figure("c", 1.5, None),
        ];
        let expected = "  figure     median     rounds  unit  budget
  a            12.0  11.0–13.0  ns    ≤ 60    held
  long name     400    399–401  ns    ≤ 60    MISSED
  c            1.50  0.500–2.50  ns
";
        let found = render(&figures);
        assert_eq!(
            found.split_whitespace().collect::<Vec<_>>(),
            expected.split_whitespace().collect::<Vec<_>>()
        );
        // Columns of characters, not of bytes: some are wider than one.
        let column = |line: &str| line.chars().position(|character| character == '≤');
        let lines: Vec<_> = found.lines().collect();
        assert!(column(lines[1]).is_some());
        assert_eq!(column(lines[1]), column(lines[2]));
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([1234.5, 12.34, 1.234, 0.1234].map(number), ["1234", "12.3", "1.23", "0.123"]);
    }
}
