//! The figures on a terminal of any size, with or without color.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Row, Table};
use ringway_runtime::histogram::State;

use super::sections::{Section, Sort, sections, summary};
use super::{Figures, View};

/// The widest first column; what is longer is cut off.
const NAME_WIDTH: u16 = 40;
const COLUMN_WIDTH: u16 = 11;

/// Draws everything there is room for: the summary first, then the tables from the top.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    let mut lines: Vec<Line<'_>> = Vec::new();
    if let Some(figures) = &view.figures {
        let [who, what] = summary(figures);
        let style = match figures.state {
            State::Running => Style::default().add_modifier(Modifier::BOLD),
            State::Closed | State::Died => view.alarm(),
        };
        lines.push(Line::styled(who, style));
        if let Some(note) = note(figures) {
            lines.push(Line::styled(note, view.alarm()));
        }
        lines.push(Line::raw(what));
    }
    if let Some(problem) = &view.problem {
        lines.push(Line::styled(problem.clone(), view.alarm()));
    }
    let mut top = area.y;
    for line in lines {
        if let Some(row) = row(area, top) {
            frame.render_widget(line, row);
        }
        top = top.saturating_add(1);
    }
    let keys = format!("q quit · s sort by {} · p {}", view.sort.name(), if view.paused { "go on" } else { "pause" });
    let bottom = area.bottom().saturating_sub(1);
    if bottom > top {
        let keys = Line::styled(keys, Style::default().add_modifier(Modifier::DIM)).alignment(Alignment::Left);
        frame.render_widget(keys, Rect { y: bottom, height: 1, ..area });
    }
    if let Some(figures) = &view.figures {
        let room = Rect { y: top, height: bottom.saturating_sub(top), ..area };
        tables(frame, room, figures, view.sort, view);
    }
}

/// What the state means for the figures below it.
fn note(figures: &Figures) -> Option<&'static str> {
    match figures.state {
        State::Running => None,
        State::Closed => Some("the gateway has ended; these are its last figures"),
        State::Died => Some("the gateway died; these are its last figures"),
    }
}

fn row(area: Rect, y: u16) -> Option<Rect> {
    (y < area.bottom()).then_some(Rect { y, height: 1, ..area })
}

fn tables(frame: &mut Frame<'_>, room: Rect, figures: &Figures, sort: Sort, view: &View) {
    let sections: Vec<Section> =
        sections(figures, sort).into_iter().filter(|section| !section.rows.is_empty()).collect();
    let wanted: Vec<u16> =
        sections.iter().map(|section| section.rows.len().min(usize::from(u16::MAX)) as u16).collect();
    let heights = share(&wanted, room.height);
    let mut top = room.y;
    for (section, height) in sections.iter().zip(heights) {
        if height == 0 {
            continue;
        }
        // An empty line, the head, the rows.
        let area = Rect { y: top + 1, height: height + 1, ..room };
        top = top.saturating_add(height + 2);
        let columns = (0..section.head.len())
            .map(|at| if at == 0 { Constraint::Max(NAME_WIDTH) } else { Constraint::Length(COLUMN_WIDTH) });
        let right = |cells: Vec<String>| {
            let cell = |(at, cell): (usize, String)| {
                Line::raw(cell).alignment(if at == 0 { Alignment::Left } else { Alignment::Right })
            };
            Row::new(cells.into_iter().enumerate().map(cell).collect::<Vec<_>>())
        };
        let head = right(section.head.iter().map(|&name| name.to_owned()).collect()).style(view.head());
        let shown = section.rows.iter().take(usize::from(height)).cloned();
        let left = section.rows.len().saturating_sub(usize::from(height));
        let mut rows: Vec<Row<'_>> = shown.map(right).collect();
        if left > 0 {
            rows.pop();
            rows.push(Row::new([format!("... {} more", left + 1)]));
        }
        frame.render_widget(Table::new(rows, columns).header(head).column_spacing(1), area);
    }
}

/// How many rows each table gets, given how many it has: everyone a fair share, and what one does not need goes to the
/// others. A table that gets rows also takes an empty line and its head; the last ones get nothing where that is too
/// much.
pub(super) fn share(wanted: &[u16], height: u16) -> Vec<u16> {
    const FRAME: u16 = 2;
    let mut tables = wanted.len();
    while tables > 0 && tables as u16 * (FRAME + 1) > height {
        tables -= 1;
    }
    let mut given = vec![0; wanted.len()];
    let mut left = height.saturating_sub(tables as u16 * FRAME);
    // One row a round to each that wants more: few rows, few rounds.
    loop {
        let mut moved = false;
        for (given, wanted) in given.iter_mut().zip(wanted).take(tables) {
            if *given < *wanted && left > 0 {
                *given += 1;
                left -= 1;
                moved = true;
            }
        }
        if !moved {
            return given;
        }
    }
}

impl View {
    fn alarm(&self) -> Style {
        let style = Style::default().add_modifier(Modifier::BOLD);
        if self.color { style.fg(Color::Red) } else { style.add_modifier(Modifier::REVERSED) }
    }

    fn head(&self) -> Style {
        let style = Style::default().add_modifier(Modifier::UNDERLINED);
        if self.color { style.fg(Color::Cyan) } else { style }
    }
}
