"""std.email."""

from __future__ import annotations

from email.message import EmailMessage

import aiosmtplib

from gregale.actions.contract import ActionError, action


@action("std.email")
async def email(
    from_addr: str,
    to_addrs: list[str],
    smtp_server: str,
    reply_to: str | None = None,
    cc_addrs: list[str] | None = None,
    bcc_addrs: list[str] | None = None,
    smtp_password: str | None = None,
    subject: str | None = None,
    body: str | None = None,
    html_body: str | None = None,
) -> None:
    """Sends an e-mail. With a password: STARTTLS and login. With `html_body`: text and HTML as alternatives."""
    message = EmailMessage()
    message["From"] = from_addr
    message["To"] = ", ".join(to_addrs)
    message["Subject"] = subject or ""
    if reply_to:
        message["Reply-To"] = reply_to
    if cc_addrs:
        message["Cc"] = ", ".join(cc_addrs)
    message.set_content(body or "")
    if html_body:
        message.add_alternative(html_body, subtype="html")
    host, _, port = smtp_server.partition(":")
    try:
        await aiosmtplib.send(
            message,
            sender=from_addr,
            recipients=[*to_addrs, *(cc_addrs or []), *(bcc_addrs or [])],
            hostname=host,
            port=int(port) if port else 25,
            start_tls=bool(smtp_password),
            username=from_addr if smtp_password else None,
            password=smtp_password,
        )
    except (aiosmtplib.SMTPException, OSError, ValueError) as e:
        raise ActionError(f"Failed to send an email message: {type(e).__name__}: {e}") from None
