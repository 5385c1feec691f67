"""TLS that failed, in words: the reason that OpenSSL gives, and what to do."""

import re

# By these alerts a server refuses a client's certificate, or that there is none: it is the side that sends them. TLS
# 1.3 has one for it, which comes after the handshake, in place of an answer; before, servers used the others.
CLIENT_CERTIFICATE = re.compile(
    r"alert (certificate|bad certificate|no certificate|unsupported certificate|unknown ca|access denied|decrypt error)"
)
NONE_IS_SENT = (
    "and syncsvc sends none to this app. Give the app one, as its client certificate, or let the endpoint take webhooks"
    " without: they are signed."
)
RENEW = "Give the app a renewed one (its settings, or app_change --client-certificate-file --client-key-file)."
# With TLS 1.3 the refusal comes after the handshake, and the end of the connection may overtake it.
BROKEN_OFF = (
    "So do endpoints that refuse a client certificate: its log says so then. See whether the app's certificate has"
    " ended, and whether the endpoint knows the authority that signed it."
)
LIBRARY = re.compile(r"^.*error:[0-9A-F]{8}:[^:]*::|, errno \d+$")

# Where the app has a client certificate.
OF_CERTIFICATE_SENT = (
    # libcurl says this, and no alert, where the server's is that a certificate has expired (ossl_connect_step2).
    (re.compile(r"verification failed$|alert certificate expired"), f"The app's client certificate has ended. {RENEW}"),
    (re.compile(r"alert certificate revoked"), f"The app's client certificate was revoked. {RENEW}"),
    (
        re.compile(r"alert unknown ca"),
        "The endpoint does not know the authority that signed the app's client certificate: let it trust that one, give"
        " the certificate with its whole chain, or give the app a certificate of an authority that it trusts.",
    ),
    (
        CLIENT_CERTIFICATE,
        "The endpoint refuses the app's client certificate: see in its log why, and give the app one that it takes.",
    ),
    (
        re.compile(r"alert handshake failure|no shared cipher"),
        "Either the endpoint refuses the app's client certificate, or it has no cipher in common with syncsvc, which"
        " needs TLS 1.2 or later: its log says which.",
    ),
    (
        re.compile(r"private key file|PEM client certificate"),
        "The app's client certificate or its key cannot be used: give the app both again.",
    ),
)
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
        "Let it send its certificate with the whole chain. An authority of your own belongs into the app's CA"
        " certificate; one that all apps trust, into SSL_CERT_FILE.",
    ),
)
ANYTHING_ELSE = "Check the certificate, its chain and its host name."


def wants_certificate(message: str) -> bool:
    """True where the endpoint broke off because of the client's certificate, or because there was none."""
    return bool(CLIENT_CERTIFICATE.search(message))


def lacks_key(message: str) -> bool:
    """True where libcurl cannot use the private key with its certificate."""
    return "private key file" in message


def reason(message: str) -> str:
    """What libcurl says, without the names and numbers of its TLS library."""
    return LIBRARY.sub("", message)


def advice(message: str, *, sends_certificate: bool = False) -> str:
    table = (*OF_CERTIFICATE_SENT, *ADVICE) if sends_certificate else ADVICE
    return next((advice for words, advice in table if words.search(message)), ANYTHING_ELSE)
