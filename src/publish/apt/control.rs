//! Control data (deb822(5)), read strictly and written as it was.

/// A field's name, and its value as it stands there, further lines included.
pub(super) type Field = (String, String);

/// The only paragraph of a text. Errors say what is wrong with it.
pub(super) fn paragraph(text: &str) -> Result<Vec<Field>, String> {
    let mut fields: Vec<Field> = Vec::new();
    for line in text.trim_end_matches('\n').split('\n') {
        if let Some(odd) = line.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(format!("its control data has the control character {:?}", odd));
        }
        if line.starts_with([' ', '\t']) {
            let last = fields.last_mut().ok_or("its control data begins in the middle of a field")?;
            if line.trim().is_empty() {
                return Err("its control data has a line of spaces".to_owned());
            }
            last.1.push('\n');
            last.1.push_str(line);
            continue;
        }
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("its control data has the line `{line}`"))?;
        let fine = |c: char| c.is_ascii_graphic() && c != ':';
        if name.is_empty() || name.starts_with(['#', '-']) || !name.chars().all(fine) {
            return Err(format!("its control data has a field `{name}`"));
        }
        if fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Err(format!("its control data has the field {name} twice"));
        }
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(fields)
}

/// The value of a field; names are the same in either case.
pub(super) fn value<'a>(fields: &'a [Field], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The text of one field.
pub(super) fn write(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push(':');
    if !value.starts_with('\n') {
        out.push(' ');
    }
    out.push_str(value);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_paragraph_or_hide_a_field_is_refused() {
        for bad in [
            "Package: a\n\nPackage: b\n",
            "Package: a\r\nVersion: 1\n",
            "Package: a\n \nVersion: 1\n",
            "Package: a\npackage: b\n",
            " Package: a\n",
            "Package a\n",
            "Pack age: a\n",
            "-Package: a\n",
            "Package: a\u{0}\n",
            "Package: a\u{85}\n",
        ] {
            assert!(paragraph(bad).is_err(), "{bad:?}");
        }
        let fields =
            paragraph("Package: a\nDescription: short\n long\n .\n more\nConffiles:\n /etc/a\n").unwrap();
        assert_eq!(value(&fields, "description"), Some("short\n long\n .\n more"));
        assert_eq!(value(&fields, "Conffiles"), Some("\n /etc/a"));
    }
}
