//! What the command line says of a retention class.

use artifactstore_registry::model::name::ClassName;
use artifactstore_registry::model::retention::{Afterwards, Mode, Period, RetentionClass, Start};
use artifactstore_registry::{Error, Refusal, Registry};
use clap::ValueEnum;

use super::CliError;

/// What is said of a class; what is not said stays as it is, or has its default.
#[derive(Debug, clap::Args)]
pub(super) struct Changes {
    /// How firmly it keeps; a new class needs it
    #[arg(long, value_enum)]
    mode: Option<ModeWord>,
    /// How long, as in 30d, 7y or forever; a new class needs it
    #[arg(long, value_name = "PERIOD", value_parser = parse_period)]
    period: Option<Period>,
    /// What begins the period; ingest when nothing was said
    #[arg(long, value_enum)]
    start: Option<StartWord>,
    /// What follows; eligible when nothing was said
    #[arg(long, value_enum)]
    then: Option<ThenWord>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whether its period may be shortened, in governance; can only be said when the class is made
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    may_shorten: Option<bool>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeWord {
    /// Names may be removed; bytes stay for the period
    None,
    /// Whoever may bypass governance, and says so, may remove and shorten
    Governance,
    /// Nobody removes or shortens
    Compliance,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StartWord {
    /// The file's ingest
    Ingest,
    /// The seal of its package
    Finalize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ThenWord {
    /// Nothing goes by itself
    Keep,
    /// It may go
    Eligible,
    /// It goes
    Delete,
}

impl From<ModeWord> for Mode {
    fn from(word: ModeWord) -> Self {
        match word {
            ModeWord::None => Self::None,
            ModeWord::Governance => Self::Governance,
            ModeWord::Compliance => Self::Compliance,
        }
    }
}

impl From<StartWord> for Start {
    fn from(word: StartWord) -> Self {
        match word {
            StartWord::Ingest => Self::Ingest,
            StartWord::Finalize => Self::Finalize,
        }
    }
}

impl From<ThenWord> for Afterwards {
    fn from(word: ThenWord) -> Self {
        match word {
            ThenWord::Keep => Self::Keep,
            ThenWord::Eligible => Self::Eligible,
            ThenWord::Delete => Self::Delete,
        }
    }
}

/// `30d`, `7y` or `forever`
fn parse_period(text: &str) -> Result<Period, String> {
    let wrong = || "a period is a number of days or years, such as 30d or 7y, or forever".to_owned();
    if text == "forever" {
        return Ok(Period::Forever);
    }
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let digits = &text[..text.len() - unit.len_utf8()];
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    let number: u32 = number.ok_or_else(wrong)?;
    let period = match unit {
        'd' => Period::Days(number),
        'y' => Period::Years(number),
        _ => return Err(wrong()),
    };
    if period.is_sensible() { Ok(period) } else { Err("a period is 1 to 36500 days or 1 to 100 years".to_owned()) }
}

impl Changes {
    /// The class that there is, changed by this; a new one where there is none.
    pub(super) fn applied_to(self, present: Option<RetentionClass>) -> Result<RetentionClass, CliError> {
        let missing = |what| CliError::Other(format!("a new class needs {what}"));
        let (mode, period) = (self.mode.map(Mode::from), self.period);
        let before = match present {
            Some(class) => class,
            None => RetentionClass {
                mode: mode.ok_or_else(|| missing("--mode"))?,
                then: Afterwards::Eligible,
                start: Start::Ingest,
                period: period.ok_or_else(|| missing("--period"))?,
                description: String::new(),
                may_shorten: false,
            },
        };
        Ok(RetentionClass {
            mode: mode.unwrap_or(before.mode),
            then: self.then.map_or(before.then, Into::into),
            start: self.start.map_or(before.start, Into::into),
            period: period.unwrap_or(before.period),
            description: self.description.unwrap_or(before.description),
            may_shorten: self.may_shorten.unwrap_or(before.may_shorten),
        })
    }
}

/// The class of this name, if there is one.
pub(super) async fn present(registry: &Registry, name: &ClassName) -> Result<Option<RetentionClass>, CliError> {
    match registry.class_stat(name).await {
        Ok(row) => Ok(Some(row.class)),
        Err(Error::Refused(Refusal::ClassMissing(_))) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_days_years_or_forever() {
        assert_eq!(parse_period("30d"), Ok(Period::Days(30)));
        assert_eq!(parse_period("7y"), Ok(Period::Years(7)));
        assert_eq!(parse_period("forever"), Ok(Period::Forever));
        for bad in ["", "d", "30", "0d", "101y", "36501d", "-1d", "1w", "7 y", "7é", "99999999999d"] {
            assert!(parse_period(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_new_class_needs_a_mode_and_a_period_and_one_that_is_there_keeps_the_rest() {
        let said =
            |mode, period| Changes { mode, period, start: None, then: None, description: None, may_shorten: None };
        assert!(said(None, Some(Period::Forever)).applied_to(None).is_err());
        assert!(said(Some(ModeWord::None), None).applied_to(None).is_err());
        let made = said(Some(ModeWord::Governance), Some(Period::Years(3))).applied_to(None).unwrap();
        assert_eq!((made.start, made.then, made.may_shorten), (Start::Ingest, Afterwards::Eligible, false));
        let before = RetentionClass { start: Start::Finalize, description: "x".to_owned(), may_shorten: true, ..made };
        let longer = said(None, Some(Period::Years(4))).applied_to(Some(before.clone())).unwrap();
        assert_eq!(longer, RetentionClass { period: Period::Years(4), ..before });
    }
}
