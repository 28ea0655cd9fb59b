//! A page of metrics: families of samples with labels, in the Prometheus text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>) or in OpenMetrics 1.0.0
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>), as far as we need them.

use std::fmt::{Display, Write as _};

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// The Prometheus text format.
    Text,
    /// OpenMetrics.
    OpenMetrics,
}

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A page of metrics in the making.
pub(super) struct Page {
    format: Format,
    text: String,
}

impl Format {
    /// What whoever sent this `Accept` header prefers, the text format if it is all the same.
    pub(super) fn preferred(accept: Option<&str>) -> Self {
        let (mut text, mut open_metrics) = (0.0_f32, 0.0_f32);
        for range in accept.unwrap_or("*/*").split(',') {
            let mut parts = range.split(';').map(str::trim);
            let weight = |part: &str| part.strip_prefix("q=")?.trim().parse::<f32>().ok();
            match parts.next() {
                Some("application/openmetrics-text") => {
                    open_metrics = parts.find_map(weight).unwrap_or(1.0).max(open_metrics);
                }
                Some("text/plain" | "text/*" | "*/*") => {
                    text = parts.find_map(weight).unwrap_or(1.0).max(text);
                }
                _ => {}
            }
        }
        match text < open_metrics {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    /// The content type of such a page.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Page {
    /// An empty page.
    pub(super) fn new(format: Format) -> Self {
        let text = String::new();
        Self { format, text }
    }

    /// Begins a family; its samples follow. A counter's name ends in `_total`.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        debug_assert_eq!(name.ends_with("_total"), matches!(kind, Kind::Counter));
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let mut help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let mut name = name;
        if self.format == Format::OpenMetrics {
            // The ending is the sample's there, not the family's.
            name = name.strip_suffix("_total").unwrap_or(name);
            help = help.replace('"', "\\\"");
        }
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// The finished page.
    pub(super) fn into_text(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.family("corelog_hops_total", Kind::Counter, "Requests \"sent on\".");
        page.sample(
            "corelog_hops_total",
            &[("core", "0"), ("why", "a\"b\\c\nd")],
            7,
        );
        page.sample("corelog_up", &[], 1);
        page.into_text()
    }

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let text = "# HELP corelog_hops_total Requests \"sent on\".\n\
                    # TYPE corelog_hops_total counter\n\
                    corelog_hops_total{core=\"0\",why=\"a\\\"b\\\\c\\nd\"} 7\n\
                    corelog_up 1\n";
        assert_eq!(page(Format::Text), text);
    }

    #[test]
    fn a_page_of_openmetrics_names_counters_without_their_ending_and_says_that_it_ends() {
        let text = "# HELP corelog_hops Requests \\\"sent on\\\".\n\
                    # TYPE corelog_hops counter\n\
                    corelog_hops_total{core=\"0\",why=\"a\\\"b\\\\c\\nd\"} 7\n\
                    corelog_up 1\n\
                    # EOF\n";
        assert_eq!(page(Format::OpenMetrics), text);
    }

    #[test]
    fn openmetrics_is_for_those_who_prefer_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.75,\
                          application/openmetrics-text;version=0.0.1;q=0.5,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        let first_wins_no_more = "application/openmetrics-text; q=0.2, text/plain; q=0.9";
        for (accept, format) in [
            (None, Format::Text),
            (Some("*/*"), Format::Text),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some(prometheus), Format::OpenMetrics),
            (Some(first_wins_no_more), Format::Text),
            (Some("application/json"), Format::Text),
        ] {
            assert_eq!(Format::preferred(accept), format, "{accept:?}");
        }
    }
}
