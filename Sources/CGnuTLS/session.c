/* SPDX-License-Identifier: Apache-2.0 */
#include "CGnuTLS.h"
const char *cgt_library_version(void) { return gnutls_check_version(NULL); }
