"""Text normalization: any spelling of a type text as upper-case ASCII with single spaces and plain hyphens."""

import html
import re
import unicodedata

# Captions are shorter. A limit keeps the time that a page's text can take small.
MAX_LENGTH = 400
DASHES = re.compile(r"\s*[-\u2010-\u2015\u2043\u2212]+\s*")
# Soft hyphens, joiners and trademark signs, which copied text contains.
INVISIBLE = re.compile("[\u00ad\u00ae\u2122\u200b-\u200f\u2060\ufeff]")
# Constructors in the scripts of aviation news and spotters' sites, upper case.
NAMES_IN_OTHER_SCRIPTS = {
    "BOEING": (
        *("波音", "ボーイング", "보잉", "БОИНГ", "БОЇНГ", "بوينغ", "بوينج", "بوئینگ", "بوئنگ"),
        *("בואינג", "ΜΠΟΙΝΓΚ", "ΜΠΌΙΝΓΚ", "โบอิง", "โบอิ้ง", "बोइंग", "ԲՈԻՆԳ", "ბოინგი", "ბოინგ"),
    ),
    "AIRBUS": (
        *("空中客车", "空中客車", "空中巴士", "空客", "空巴", "エアバス", "에어버스"),
        *("АЭРОБУС", "АЭРБАС", "ЭЙРБАС", "ЭРБАС", "АЕРОБУС", "ЕЙРБАС", "ЕРБАС", "ЕРБЪС", "ЕЪРБЪС", "АИРБУС"),
        *("إيرباص", "ايرباص", "أيرباص", "إيرباس", "ايرباس", "ایرباس", "ائیربس", "איירבוס"),
        *("ΕΡΜΠΑΣ", "ΈΡΜΠΑΣ", "ΑΙΡΜΠΑΣ", "แอร์บัส", "एयरबस", "აირბასი", "აირბას"),
    ),
    "EMBRAER": ("巴西航空工业", "巴航工业", "エンブラエル", "엠브라에르", "ЭМБРАЕР"),
    "BOMBARDIER": ("庞巴迪", "龐巴迪", "ボンバルディア", "봄바디어", "БОМБАРДЬЕ"),
    "FREIGHTER": ("货机", "貨機", "全货机", "貨物機", "화물기"),
}
_NAMES = {
    unicodedata.normalize("NFKC", spelling).upper(): name
    for name, spellings in NAMES_IN_OTHER_SCRIPTS.items()
    for spelling in spellings
}
_NAME = re.compile("|".join(sorted(_NAMES, key=len, reverse=True)))
# Cyrillic and Greek capitals that look like Latin ones, next to a number, as in A320.
_LOOKALIKES = str.maketrans(
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0423\u0406\u0405"
    "\u0391\u0392\u0395\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a7\u03a5\u0399\u0396",
    "ABEKMHOPCTXYISABEKMNOPTXYIZ",
)
_LOOKALIKE = re.compile(r"[\u0370-\u03ff\u0400-\u04ff]+(?=[ .-]?\d)|(?<=\d)[\u0370-\u03ff\u0400-\u04ff]+")


def normalize(text: str) -> str:
    """Normalize a type text.

    HTML entities are decoded, full-width and other digits become ASCII digits, and the constructors' names in other
    scripts become Latin ones. Other non-ASCII text becomes spaces. Hyphens have no spaces around them.

    Args:
        text: Any text; only the first MAX_LENGTH characters are read.

    Returns:
        Upper-case ASCII text.
    """
    text = text[:MAX_LENGTH]
    text = INVISIBLE.sub("", html.unescape(html.unescape(text)))  # twice: "&amp;nbsp;"
    text = INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).upper()
    text = "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in text)
    text = DASHES.sub("-", text)
    if not text.isascii():
        text = _NAME.sub(lambda name: f" {_NAMES[name[0]]} ", text)
        text = _LOOKALIKE.sub(lambda letters: letters[0].translate(_LOOKALIKES), text)
        text = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
        text = re.sub(r"[^\x00-\x7f]+", " ", text)
    text = re.sub(r"(?<=\d{3})\.(?=\d{3}(?!\d))", "-", text)  # 737.800
    text = re.sub(r"'S(?![A-Z])|[\"'`]", " ", text)
    return DASHES.sub("-", " ".join(re.sub(r"[_\[\]{}|\x00-\x1f]+", " ", text).split()))
