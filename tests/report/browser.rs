//! Pages as a browser sees them.

use std::path::PathBuf;

use packhold::run::{write_page, write_site};

use super::devtools::Browser;
use super::fixture::{EVIL, Fixture, hostile_log};

/// Widths of a phone, a tablet and a desk, CSS pixels.
const WIDTHS: [u32; 3] = [360, 800, 1400];

fn page_of(fixture: &Fixture, passes: bool) -> PathBuf {
    let record = fixture.add(1, passes);
    let file = fixture.dir.path().join("report.html");
    write_page(&fixture.archive, &fixture.archive.run(record.id.as_str()).unwrap(), &file).unwrap();
    file
}

#[test]
fn nothing_that_a_package_or_a_build_says_runs_in_a_page() {
    let fixture = Fixture::new();
    fixture.add(0, false);
    let file = page_of(&fixture, false);
    let mut browser = Browser::start();
    browser.open(&file);
    // All of it is there as text: the names of the package and of a file, the version, lines of logs, evidence.
    let shown = browser.evaluate("document.body.textContent.split('window.owned=1').length - 1");
    assert!(shown.as_u64().unwrap() > 40, "{shown} times");
    let commit = browser.evaluate("document.querySelector('ol.commits li').textContent");
    assert!(commit.as_str().unwrap().starts_with(&format!("Mend the agent {EVIL} ")), "{commit}");
    assert_eq!(browser.evaluate("typeof window.owned"), "undefined");
    assert_eq!(browser.evaluate("document.querySelectorAll('script').length"), 1);
    assert_eq!(
        browser.evaluate("document.querySelectorAll('img, iframe, object, link, [style], [onerror]').length"),
        0
    );
    // Nor would it if it were markup: the policy forbids it.
    browser.evaluate("document.body.insertAdjacentHTML('beforeend', '<p onclick=\"window.owned=1\">x</p>')");
    browser.evaluate("document.body.lastElementChild.click()");
    assert_eq!(browser.evaluate("typeof window.owned"), "undefined");
    let forbidden = std::mem::take(&mut browser.complaints);
    assert!(
        forbidden.iter().all(|line| line.contains("Content Security Policy")) && !forbidden.is_empty(),
        "{forbidden:?}"
    );

    let site = fixture.dir.path().join("site");
    write_site(&fixture.archive, &site, 100).unwrap();
    browser.open(&site.join("index.html"));
    assert_eq!(browser.evaluate("typeof window.owned"), "undefined");
    assert_eq!(browser.evaluate("document.querySelectorAll('script').length"), 1);
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn logs_are_folded_and_searched() {
    let fixture = Fixture::new();
    let file = page_of(&fixture, false);
    let mut browser = Browser::start();
    browser.resize(1400);
    browser.open(&file);
    let open = "Array.from(document.querySelectorAll('#log-debian-12-deb-build-log, #log-debian-12-deb-build-log details')).map((d) => d.open).join()";
    assert_eq!(browser.evaluate(open), "false,false,false", "what passed is folded");
    browser.click("#log-debian-12-deb-build-log > summary");
    assert_eq!(browser.evaluate(open), "true,false,false");

    browser.click("#search");
    browser.type_text("IMPLICIT");
    browser.wait_for("document.getElementById('hits').textContent === '1 line'");
    browser.press("Enter", 13);
    browser.wait_for("document.getElementById('hits').textContent === '1 of 1 line'");
    assert_eq!(browser.evaluate(open), "true,false,true", "the step with the line is opened");
    let hit = browser.evaluate("document.querySelector('.line.now').textContent");
    assert_eq!(hit, "agent.c:12:5: error: implicit declaration of function \u{fffd}\n");
    assert_eq!(browser.evaluate("document.querySelector('.line.now .f1.b').textContent"), "error:");

    browser.click("#errors");
    browser.wait_for("getComputedStyle(document.querySelector('.line:not(.error)')).display === 'none'");
    browser.click("#fold");
    browser.wait_for("Array.from(document.querySelectorAll('details.step')).every((d) => d.open)");

    // A place in the matrix leads to the log, and opens it.
    browser.open(&file);
    browser.click(".matrix a");
    browser.wait_for("document.getElementById('log-debian-12-deb-build-log').open");
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn a_page_can_be_used_by_keyboard_screen_reader_and_without_scripts() {
    let fixture = Fixture::new();
    let file = page_of(&fixture, false);
    let mut browser = Browser::start();
    browser.open(&file);
    browser.press("Tab", 9);
    assert_eq!(browser.evaluate("document.activeElement.className"), "skip");
    for landmark in ["header", "nav[aria-label]", "main", "footer"] {
        assert_eq!(
            browser.evaluate(&format!("document.querySelectorAll('body > {landmark}').length")),
            1,
            "{landmark}"
        );
    }
    let unlabelled = "Array.from(document.querySelectorAll('table')).filter((t) => !t.querySelector('thead th[scope=col]')).length";
    assert_eq!(browser.evaluate(unlabelled), 0, "every table says what its columns are");
    let doubled = "(() => { const ids = Array.from(document.querySelectorAll('[id]')).map((e) => e.id); return ids.length - new Set(ids).size; })()";
    assert_eq!(browser.evaluate(doubled), 0);
    let dead = "Array.from(document.querySelectorAll('a[href^=\"#\"]')).filter((a) => !document.getElementById(a.hash.slice(1))).length";
    assert_eq!(browser.evaluate(dead), 0);
    assert_eq!(browser.evaluate("document.querySelector('form.search').hidden"), false);

    browser.ask("Emulation.setScriptExecutionDisabled", serde_json::json!({ "value": true }));
    browser.open(&file);
    // What needs a script is not shown, and folded parts open by themselves.
    browser.ask("Emulation.setScriptExecutionDisabled", serde_json::json!({ "value": false }));
    assert_eq!(browser.evaluate("document.querySelector('form.search').hidden"), true);
    browser.click("#log-debian-12-deb-build-log > summary");
    assert_eq!(browser.evaluate("document.getElementById('log-debian-12-deb-build-log').open"), true);
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn pages_fit_a_phone_and_a_desk_in_light_and_dark() {
    let fixture = Fixture::new();
    for day in 2..6 {
        fixture.add(day, true);
    }
    let file = page_of(&fixture, false);
    let site = fixture.dir.path().join("site");
    write_site(&fixture.archive, &site, 100).unwrap();
    let mut browser = Browser::start();
    // Where somebody wants to look at them: PACKHOLD_TEST_PICTURES=DIR.
    let pictures = std::env::var_os("PACKHOLD_TEST_PICTURES").map(PathBuf::from);
    for (name, page) in [("run", &file), ("site", &site.join("index.html"))] {
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            for width in WIDTHS {
                browser.resize(width);
                browser.open(page);
                let overflow = browser
                    .evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
                assert_eq!(overflow, 0, "the {name} page is wider than {width} pixels");
                if let Some(folder) = &pictures {
                    let picture = browser.picture(width, 3000);
                    std::fs::write(folder.join(format!("{name}-{scheme}-{width}.png")), picture).unwrap();
                }
            }
            let background = browser.evaluate("getComputedStyle(document.body).backgroundColor");
            assert_eq!(background, if scheme == "light" { "rgb(255, 255, 255)" } else { "rgb(20, 23, 28)" });
        }
    }
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn a_log_of_200_mib_leaves_a_page_that_can_be_used() {
    let fixture = Fixture::new();
    let mut log = hostile_log();
    let line = "cc -O2 -g -Wall -Wextra -c source/file.c -o build/file.o: this is what a long build prints all day\n";
    while log.len() < 100 << 20 {
        log.extend(line.as_bytes());
    }
    log.extend(b"file.c:1: error: the one in the middle\n");
    while log.len() < 200 << 20 {
        log.extend(line.as_bytes());
    }
    log.extend(b"make: the last line\n");
    let record = fixture.add_with_log(1, false, &log);
    let file = fixture.dir.path().join("report.html");
    write_page(&fixture.archive, &fixture.archive.run(record.id.as_str()).unwrap(), &file).unwrap();
    assert!(std::fs::metadata(&file).unwrap().len() < 2 << 20);
    let mut browser = Browser::start();
    browser.open(&file);
    let text = browser.evaluate("document.getElementById('log-debian-12-deb-build-log').textContent");
    let text = text.as_str().unwrap();
    for shown in ["make all", "the one in the middle", "make: the last line", "lines are left out", EVIL] {
        assert!(text.contains(shown), "{shown}");
    }
    let address =
        browser.evaluate("document.querySelector('#log-debian-12-deb-build-log a').getAttribute('href')");
    assert_eq!(address, "report.logs/debian-12_deb.build.log.txt");
    let whole = std::fs::read(fixture.dir.path().join(address.as_str().unwrap())).unwrap();
    assert!(whole == log, "the file beside the page is the whole log");
    assert_eq!(browser.complaints, [""; 0]);
}
