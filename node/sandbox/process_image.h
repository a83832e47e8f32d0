/* The files a launcher is started from, embedded at build time (CMakeLists.txt). */

#ifndef NODE_SANDBOX_PROCESS_IMAGE_H
#define NODE_SANDBOX_PROCESS_IMAGE_H

#include <stddef.h>

extern const unsigned char process_image_launcher[]; /* launcher_main.c, an executable */
extern const size_t process_image_launcher_bytes;
extern const unsigned char process_image_library[]; /* the same as a library, for the zygote */
extern const size_t process_image_library_bytes;
extern const unsigned char process_image_zygote[]; /* zygote.py */
extern const size_t process_image_zygote_bytes;
extern const unsigned char process_image_bootstrap[]; /* bootstrap.py */
extern const size_t process_image_bootstrap_bytes;
extern const unsigned char process_image_node[]; /* bootstrap.js */
extern const size_t process_image_node_bytes;

#endif
