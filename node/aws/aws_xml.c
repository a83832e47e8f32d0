#include "node/aws/aws_xml.h"

static const char *escape_of(uint8_t c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\r': /* a reader would turn the bare character into a line feed */
        return "&#13;";
    case '\t':
    case '\n':
        return NULL;
    default:
        return c < 0x20 ? "\xef\xbf\xbd" : NULL;
    }
}

void aws_xml_text(struct buffer *to, struct slice text)
{
    size_t plain = 0; /* start of what needs no escape */

    for (size_t i = 0; i < text.size; i++) {
        const char *escape = escape_of(text.data[i]);

        if (escape == NULL)
            continue;
        buffer_put(to, text.data + plain, i - plain);
        buffer_put_text(to, escape);
        plain = i + 1;
    }
    if (text.size > plain)
        buffer_put(to, text.data + plain, text.size - plain);
}

void aws_xml_open(struct buffer *to, const char *name)
{
    buffer_put_u8(to, '<');
    buffer_put_text(to, name);
    buffer_put_u8(to, '>');
}

void aws_xml_close(struct buffer *to, const char *name)
{
    buffer_put_text(to, "</");
    buffer_put_text(to, name);
    buffer_put_u8(to, '>');
}

void aws_xml_element(struct buffer *to, const char *name, struct slice text)
{
    aws_xml_open(to, name);
    aws_xml_text(to, text);
    aws_xml_close(to, name);
}

void aws_xml_element_text(struct buffer *to, const char *name, const char *text)
{
    aws_xml_element(to, name, slice_text(text));
}
