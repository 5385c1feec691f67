"""TLS that failed, in words: the reason that OpenSSL gives, and what to do."""

import re

# By these alerts a server refuses a client's certificate, or that there is none: it is the side that sends them. TLS
# 1.3 has one for it, which comes after the handshake, in place of an answer; before, servers used the others.
CLIENT_CERTIFICATE = re.compile(r"alert (certificate required|bad certificate|no certificate|unknown ca)")
NONE_IS_SENT = "and syncsvc sends none. Let it take webhooks without one: they are signed."
LIBRARY = re.compile(r"^.*error:[0-9A-F]{8}:[^:]*::|, errno \d+$")

ADVICE = (
    (CLIENT_CERTIFICATE, f"It wants a client certificate, {NONE_IS_SENT}"),
    (
        re.compile(r"alert handshake failure|no shared cipher"),
        "Either it has no cipher in common with syncsvc, which needs TLS 1.2 or later: set up a current one."
        f" Or it wants a client certificate, {NONE_IS_SENT}",
    ),
    (
        re.compile(r"alert protocol version|unsupported protocol"),
        "It speaks older TLS only: syncsvc needs 1.2 or later.",
    ),
    (
        re.compile(r"wrong version number|packet length too long|record layer failure"),
        "What answers there is not TLS: check the webhook URL's scheme and port.",
    ),
    (re.compile(r"has expired"), "Renew the endpoint's certificate."),
    (re.compile(r"not yet valid"), "Check the endpoint's certificate, and the clock of syncsvc's machine."),
    (
        re.compile(r"subject name|hostname mismatch|does not match"),
        "Its certificate is for another host name: check the webhook URL, or have a certificate made for this name.",
    ),
    (
        re.compile(r"self.signed|issuer certificate|unable to verify the first|signature failure"),
        "Let it send its certificate with the whole chain; an authority of your own belongs into SSL_CERT_FILE.",
    ),
)
ANYTHING_ELSE = "Check the certificate, its chain and its host name."


def wants_certificate(message: str) -> bool:
    """True where the endpoint broke off because syncsvc sent no certificate of its own."""
    return bool(CLIENT_CERTIFICATE.search(message))


def reason(message: str) -> str:
    """What libcurl says, without the names and numbers of its TLS library."""
    return LIBRARY.sub("", message)


def advice(message: str) -> str:
    return next((advice for words, advice in ADVICE if words.search(message)), ANYTHING_ELSE)
