//! Results in JUnit's XML, which most CI systems show.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::FileReport;
use crate::policy_tests::CaseReport;

/// A suite per file, a test case per case.
pub(super) fn report(reports: &[FileReport]) -> Result<String, quick_junit::SerializeError> {
    let mut all = Report::new("claimgate");
    for report in reports {
        let mut suite = TestSuite::new(report.file.as_str());
        match &report.result {
            Ok(cases) => {
                suite.add_test_cases(cases.iter().map(|case| test_case(case, &report.file)));
            }
            Err(error) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                status.set_message("the file can't be used").set_description(error.as_str());
                suite.add_test_case(TestCase::new("the file can be used", status));
            }
        }
        all.add_test_suite(suite);
    }
    // XML has no place for these two, and the library lets them through.
    let is_in_xml = |c: &char| !matches!(c, '\u{fffe}' | '\u{ffff}');
    Ok(all.to_string()?.chars().filter(is_in_xml).collect())
}

fn test_case(case: &CaseReport, file: &str) -> TestCase {
    let status = match case.passed() {
        true => TestCaseStatus::success(),
        false => {
            let mismatches: Vec<_> = case.mismatches.iter().map(ToString::to_string).collect();
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(mismatches.join("; "));
            status.set_description(format!("{}\n\n{}", mismatches.join("\n"), case.explanation));
            status
        }
    };
    let mut test_case = TestCase::new(case.name.as_str(), status);
    test_case.set_classname(file);
    test_case.set_time(case.duration);
    test_case
}
