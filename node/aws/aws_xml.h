/* A small XML writer: elements and escaped text, into a buffer. */

#ifndef NODE_AWS_AWS_XML_H
#define NODE_AWS_AWS_XML_H

#include "proto/base/buffer.h"

#define AWS_XML_DECLARATION "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

/* Character data, also safe inside a double-quoted attribute. Bytes that XML 1.0 cannot carry
 * (control characters) become U+FFFD. */
void aws_xml_text(struct buffer *to, struct slice text);

void aws_xml_open(struct buffer *to, const char *name);  /* <name> */
void aws_xml_close(struct buffer *to, const char *name); /* </name> */

/* <name>text</name> */
void aws_xml_element(struct buffer *to, const char *name, struct slice text);
void aws_xml_element_text(struct buffer *to, const char *name, const char *text);

#endif
