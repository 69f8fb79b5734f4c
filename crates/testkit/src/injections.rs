//! Text that would do something in a page that did not escape it (security row 78), and how to see that it did not.

/// Elements, handlers, addresses, template syntax, invisible characters and encodings of them.
pub const SCRIPTS: &[&str] = &[
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>",
    "'><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "<iframe src=javascript:alert(1)>",
    "javascript:alert(1)",
    "\" autofocus onfocus=alert(1) x=\"",
    "' onmouseover='alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "<math><mi//xlink:href=\"data:x,<script>alert(1)</script>\">",
    "<style>@import 'https://evil.example'</style>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content=0;url=https://evil.example>",
    "<form action=https://evil.example>",
    "{{7*7}}",
    "{% raw %}",
    "${7*7}",
    "<!--",
    "-->",
    "<![CDATA[",
    "&lt;script&gt;",
    "&#60;script&#62;",
    "\u{202e}evil",
    "\u{2066}evil\u{2069}",
    "\u{200b}zero",
    "\u{feff}bom",
    "a\r\nb",
    "a\0b",
    "\u{1b}[31mred",
    "<scr\0ipt>",
    "＜script＞",
    "<ScRiPt>alert(1)</sCrIpT>",
    "<svg><script>alert(1)</script></svg>",
    "<details open ontoggle=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<body onload=alert(1)>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<link rel=stylesheet href=//evil.example>",
    "`onerror=alert(1)",
    "<img src=`x`onerror=alert(1)>",
    "\\\"><script>",
    "%3Cscript%3E",
    "<x onclick=alert(1)>",
    "<b>",
    "</bdi><script>",
    "</span></div></section>",
    "<marquee onstart=alert(1)>",
    "<video src=x onerror=alert(1)>",
    "<audio src=x onerror=alert(1)>",
    "<template><script>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<plaintext>",
    "<xmp>",
    "<listing>",
    "<isindex action=javascript:alert(1)>",
    "<table background=javascript:alert(1)>",
    "<div style=\"background:url(//evil.example)\">",
];

/// The start tags of a page, by name. What was typed must not add one; our own templates write them in lower case.
pub fn tags(page: &str) -> Vec<String> {
    page.split('<')
        .skip(1)
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
        .map(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).collect())
        .collect()
}
