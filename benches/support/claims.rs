//! Claims of the shape that Amazon Cognito's machine-to-machine tokens have.

use claimgate::provider::oauth2::Algorithm;
use serde_json::json;

/// The claims of a token of about 1.2 kB; `number` makes it differ from all
/// others. It is valid for two hours from `issued`, in Unix seconds.
///
/// Issuers of one length get tokens of one length, whatever the algorithm.
pub(crate) fn claims(algorithm: Algorithm, issuer: &str, issued: u64, number: usize) -> Vec<u8> {
    // An RSA signature of 2048 bits is 192 bytes longer than one on P-256.
    let room = if algorithm == Algorithm::Es256 { 192 } else { 0 };
    let claims = json!({
        "sub": "3j9b0v7u1q2w4e5r6t7y8u9i0o",
        "token_use": "access",
        "scope": "https://gateway.internal/invoke https://gateway.internal/admin",
        "auth_time": issued,
        "iss": issuer,
        "exp": issued + 7200,
        "iat": issued,
        "version": 2,
        "jti": format!("8f14e45f-ceea-467f-a9b3-{number:012}"),
        "client_id": "3j9b0v7u1q2w4e5r6t7y8u9i0o",
        "padding": "x".repeat(200 + room),
    });
    claims.to_string().into_bytes()
}
