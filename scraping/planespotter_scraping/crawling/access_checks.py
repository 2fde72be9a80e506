"""Access checks: stop at a block (401, 403), a CAPTCHA or other browser challenge, or a login wall.

Some signs are certain, such as the response header of a firewall. Others also occur on ordinary pages, such as the
CAPTCHA of a comment form; they count only on a page without photos.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from playwright.async_api import Page

from planespotter_scraping.crawling import page_snapshot
from planespotter_scraping.crawling.result import CrawlAbortedError

DENIED = {401: "access denied", 403: "access denied", 407: "access denied", 451: "unavailable for legal reasons"}
CHALLENGE_HEADERS = ("x-amzn-waf-action", "cf-mitigated", "x-datadome", "x-px-captcha", "x-sucuri-block")
CHALLENGE_TITLES = ("just a moment", "attention required", "checking your browser", "ddos", "one more step")
# Pages that are nothing but a challenge.
CHALLENGE = ", ".join(
    (
        "iframe[src*='challenges.cloudflare.com']",
        "script[src*='challenges.cloudflare.com/cdn-cgi']",
        "script[src*='/cdn-cgi/challenge-platform/'][src*='orchestrate']",
        "iframe[src*='captcha-delivery.com']",
        "script[src*='captcha-delivery.com']",
        "iframe[src*='_Incapsula_Resource']",
        "#px-captcha",
        "#sec-if-cpt-container",
        "#anubis_challenge",
        "#challenge-running",
    )
)
# Challenges that a page with photos may have as well, for example in a form.
CAPTCHA = ", ".join(
    (
        ".g-recaptcha, .h-captcha, .cf-turnstile, .frc-captcha, .smart-captcha, .geetest_captcha, .mtcaptcha",
        "altcha-widget",
        "[data-sitekey], #captcha, #captcha-container, .captcha, input[name*=captcha i], img[src*=captcha i]",
        *(
            f"{tag}[src*='{host}']"
            for tag in ("iframe", "script")
            for host in (
                "challenges.cloudflare.com",
                "hcaptcha.com",
                "google.com/recaptcha",
                "recaptcha.net",
                "awswaf.com",
                "arkoselabs.com",
                "funcaptcha.com",
                "geetest.com",
                "friendlycaptcha",
                "smartcaptcha",
                "perimeterx.net",
                "px-cloud.net",
                "kasada",
            )
        ),
    )
)
HUMAN = re.compile(
    r"(?:verify|prove|confirm|check(?:ing)?)[^.]{0,30} (?:human|not a (?:ro)?bot)|are you (?:a )?(?:human|robot)"
    r"|i'?m not a robot|unusual traffic|checking your browser|security check|enable javascript and cookies"
    r"|solve (?:this|the) (?:puzzle|captcha)"
    r"|bist du ein mensch|sind sie ein (?:mensch|roboter)|kein roboter|sicherheitsüberprüfung"
    r"|vérifi\w+[^.]{0,30}humain|pas un robot|no (?:eres|soy) un robot|verifi\w+[^.]{0,30}humano|non sono un robot"
    r"|вы (?:не )?робот|人机验证|安全验证|ロボットではありません|captcha",
    re.IGNORECASE,
)
LOGIN_PATH = re.compile(
    r"/(?:(?:user|users|account|accounts|member|members|session|sessions)[-_/])?"
    r"(?:(?:log|sign)[-_]?(?:in|on)|wp-login|anmelden|anmeldung|einloggen|connexion|se-connecter|iniciar-sesion|acceder"
    r"|accedi|inloggen|aanmelden|logowanie|zaloguj|prihlaseni|giris|logga-in)(?:[/.]|$)",
    re.IGNORECASE,
)
# Paths that mean a login if the site redirected there and shows no photos.
ACCOUNT_PATH = re.compile(
    r"/(?:oauth2?|authorize|auth|sso|saml|openid|session|sessions|account|accounts|konto|compte|cuenta|member|members|register"
    r"|registrieren|identification|subscribe|paywall)(?:[/.]|$)",
    re.IGNORECASE,
)
LOGIN_TEXT = re.compile(
    r"(?:please|you (?:must|need to|have to)|to (?:view|see|continue),?)(?: please)? (?:be )?"
    r"(?:log|sign)(?:ged|ed)?[- ]?in"
    r"|(?:log|sign) in to (?:view|see|continue|your)|members only|only (?:for )?(?:registered )?members"
    r"|bitte (?:melde|meld|log|anmelden|einloggen)|(?:melden sie|melde dich|loggen sie|logge dich)|nur für mitglieder"
    r"|(?:connectez|identifiez)-vous|inici(?:a|e) sesión|effettua l'accesso|accedi per|faça login|log in om|войдите",
    re.IGNORECASE,
)
RESPONSE_SIGNS = """([selector]) => ({
  title: document.title,
  challenge: document.querySelector(selector) !== null,
})"""
SIGNS = """([selector]) => ({
  title: document.title,
  text: (document.body?.innerText ?? "").slice(0, 3000),
  challenge: document.querySelector(selector) !== null,
  password: [...document.querySelectorAll("input[type=password]")].some((input) => input.getClientRects().length),
})"""


@dataclass(frozen=True)
class AccessChecker:
    """Check that a site serves its content to us.

    Attributes:
        out: Folder of the catalog, where snapshots are saved.
        logged_in: Whether the user passed a storage state.
    """

    out: Path
    logged_in: bool

    async def check_response(self, page: Page, status: int, headers: Mapping[str, str]) -> None:
        """Check a page as it was loaded.

        Args:
            page: The page.
            status: HTTP status of the response.
            headers: Headers of the response, with names in lower case.

        Raises:
            CrawlAbortedError: The site blocks us, shows a challenge or asks for a login.
        """
        signs = await page.evaluate(RESPONSE_SIGNS, [CHALLENGE])
        header = next((name for name in CHALLENGE_HEADERS if name in headers), "")
        if signs["challenge"] or header or signs["title"].lower().startswith(CHALLENGE_TITLES):
            problem = f"shows a CAPTCHA or browser challenge instead of photos ({header or signs['title']!r})"
        elif status in DENIED:
            problem = f"responded with {status}: {DENIED[status]}"
        elif LOGIN_PATH.search(urlsplit(page.url).path):
            problem = "is a login page"
        else:
            return
        await self.abort(page, problem, status)

    async def check_empty(self, page: Page, requested_url: str, status: int) -> None:
        """Check a page on which the parser found no photos.

        Args:
            page: The page.
            requested_url: URL that was requested, before redirects.
            status: HTTP status of the response.

        Raises:
            CrawlAbortedError: The page is a challenge or a login wall.
        """
        signs = await page.evaluate(SIGNS, [CAPTCHA])
        path = urlsplit(page.url).path
        redirected = path != urlsplit(requested_url).path
        if signs["password"] or LOGIN_PATH.search(path) or (redirected and ACCOUNT_PATH.search(path)):
            await self.abort(page, "shows a login form instead of photos", status)
        if signs["challenge"] or HUMAN.search(f"{signs['title']}\n{signs['text']}"):
            problem = f"shows a CAPTCHA or browser challenge instead of photos ({signs['title']!r})"
            await self.abort(page, problem, status)
        if LOGIN_TEXT.search(signs["text"]):
            await self.abort(page, "asks for a login instead of showing photos", status)
        if status == 202:  # firewalls answer a challenge with it, before their script replaces the page
            await self.abort(page, "responded with 202 and without photos, as a browser challenge does", status)

    async def abort(self, page: Page, problem: str, status: int | None = None) -> NoReturn:
        """Save a snapshot and raise CrawlAbortedError.

        Args:
            page: The page that shows the problem.
            problem: The rest of a sentence that starts with the page's URL.
            status: HTTP status of the response, if it matters.
        """
        remedy = (
            "Stored photos are safe. Ask the site's operators whether they allow a crawl; a block is never bypassed."
        )
        if "login" in problem:
            remedy = (
                "If the site allows a crawl with your login, log in with `playwright open --save-storage "
                f"state.json {page.url}`, close the window, and add --storage-state state.json."
            )
        elif self.logged_in:
            remedy += " The login in the storage state may have expired: create a new one."
        text = f"{page.url} {problem}. The crawl stopped. {remedy}"
        folder = await page_snapshot.save(page, self.out, text, what="access denied", status=status)
        raise CrawlAbortedError(f"{text} A snapshot of the page is in {folder}.")
