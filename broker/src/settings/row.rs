//! One row of the settings tables, and the rules that a value must keep.
//!
//! Rows are built by `const` functions, so that a table reads as one row per setting and a wrong
//! row does not compile.

/// Kafka's type of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

/// Who may change a setting while the broker runs (Kafka's update modes, KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Update {
    /// Nobody: it is read at start.
    ReadOnly,
    /// An operator, for one broker at a time.
    PerBroker,
    /// An operator, for one broker or as the default of all.
    ClusterWide,
}

/// What a value must be, beyond its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rule {
    /// Anything of the type.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number in this range, both ends inclusive.
    Within(i64, i64),
    /// A number in this range, both ends inclusive, or the third.
    WithinOr(i64, i64, i64),
    /// A fraction in this range, both ends inclusive.
    Fraction(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of these words, none twice.
    EachOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`.
    Replicas,
    /// Where a group without offsets begins: `earliest`, `latest`, or `by_duration:` and a span of
    /// time as in ISO 8601.
    OffsetReset,
    /// A list of `attribute=pattern` by which clients are matched (KIP-714).
    ClientPatterns,
}

/// A broker setting that gives the default of a topic setting, perhaps in another unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Synonym {
    /// Kafka's name of the broker setting.
    pub(crate) name: &'static str,
    /// What its value is multiplied by to become the topic setting's (hours to milliseconds).
    pub(crate) factor: i64,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Kafka's name.
    pub(crate) name: &'static str,
    /// Type.
    pub(crate) kind: Kind,
    /// Default in Kafka's text form; `None` where Kafka's default is null.
    pub(crate) default: Option<&'static str>,
    /// For a topic setting, the broker settings that are its default, strongest first.
    pub(crate) synonyms: &'static [Synonym],
    /// Who may change it while the broker runs.
    pub(crate) update: Update,
    /// What its values must be.
    pub(crate) rule: Rule,
    /// Whether it changes anything here; the others are accepted so that configurations made for
    /// Kafka can be given as they are.
    pub(crate) honoured: bool,
    /// Whether Kafka keeps it out of its documentation; shown only where it was given.
    pub(crate) internal: bool,
    /// One or two sentences of our own.
    pub(crate) documentation: &'static str,
}

impl Setting {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            default: None,
            synonyms: &[],
            update: Update::ReadOnly,
            rule: Rule::Any,
            honoured: false,
            internal: false,
            documentation: "",
        }
    }

    pub(super) const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    pub(super) const fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    pub(super) const fn at_least(self, least: i64) -> Self {
        self.rule(Rule::AtLeast(least))
    }

    pub(super) const fn one_of(self, words: &'static [&'static str]) -> Self {
        self.rule(Rule::OneOf(words))
    }

    pub(super) const fn per_broker(mut self) -> Self {
        self.update = Update::PerBroker;
        self
    }

    pub(super) const fn cluster_wide(mut self) -> Self {
        self.update = Update::ClusterWide;
        self
    }

    pub(super) const fn honoured(mut self) -> Self {
        self.honoured = true;
        self
    }

    pub(super) const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    pub(super) const fn synonyms(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }

    pub(super) const fn doc(mut self, documentation: &'static str) -> Self {
        self.documentation = documentation;
        self
    }

    /// Whether its value must not be shown.
    pub(crate) const fn is_sensitive(&self) -> bool {
        matches!(self.kind, Kind::Password)
    }

    /// Whether it can be changed while the broker runs.
    pub(crate) const fn is_dynamic(&self) -> bool {
        !matches!(self.update, Update::ReadOnly)
    }
}

pub(super) const fn boolean(name: &'static str) -> Setting {
    Setting::new(name, Kind::Boolean)
}
pub(super) const fn string(name: &'static str) -> Setting {
    Setting::new(name, Kind::String)
}
pub(super) const fn int(name: &'static str) -> Setting {
    Setting::new(name, Kind::Int)
}
pub(super) const fn short(name: &'static str) -> Setting {
    Setting::new(name, Kind::Short)
}
pub(super) const fn long(name: &'static str) -> Setting {
    Setting::new(name, Kind::Long)
}
pub(super) const fn double(name: &'static str) -> Setting {
    Setting::new(name, Kind::Double)
}
pub(super) const fn list(name: &'static str) -> Setting {
    Setting::new(name, Kind::List)
}
pub(super) const fn class(name: &'static str) -> Setting {
    Setting::new(name, Kind::Class)
}
pub(super) const fn password(name: &'static str) -> Setting {
    Setting::new(name, Kind::Password)
}
/// A synonym in the topic setting's own unit.
pub(super) const fn same(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}
/// A synonym whose unit is `factor` of the topic setting's.
pub(super) const fn times(name: &'static str, factor: i64) -> Synonym {
    Synonym { name, factor }
}
