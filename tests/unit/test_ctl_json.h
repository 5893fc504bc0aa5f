/* The JSON parser for tests whose subject includes base/json.h: two of its names mean something
 * else there and are not needed here. */
#ifndef TEST_CTL_JSON_H
#define TEST_CTL_JSON_H

#define json_string jansson_string
#define json_null   jansson_null
#include <jansson.h>
#undef json_string
#undef json_null

#endif
